import { appendFileSync } from 'node:fs'
import { pause } from '../../../src/kit/pause.ts'
import { NOTES_VARIABLE } from '../config.ts'

/** A row, as the baselines read it. */
export interface Row {
  readonly id: string
  readonly at: string
  readonly payload: { readonly behave?: string; readonly failures?: number; readonly ms?: number }
}

/** Somebody's database: what a handler writes, inside the transaction it is given. */
export type Write = (text: string, values: unknown[]) => Promise<unknown>

let runs = 0

/** Does what Tidemark's handlers do on this stage (config.ts): to the row as its payload says, at the given attempt. */
async function behave({ payload }: Row, attempt: number): Promise<void> {
  const { behave: how, failures = 0, ms = 0 } = payload
  if (how === 'slow') return pause(ms)
  if (how === 'dead') throw new Error('fails for good')
  if (attempt > failures) return
  if (how === 'throw') throw new Error('fails on purpose')
}

export async function inside(source: string, row: Row, attempt: number, write: Write): Promise<void> {
  await write('INSERT INTO effect (source, message_id, pid) VALUES ($1, $2, $3)', [
    source,
    row.id,
    process.pid,
  ])
  await behave(row, attempt)
}

export async function outside(source: string, row: Row, attempt: number): Promise<void> {
  const run = (runs += 1)
  note('began', source, row, run)
  await behave(row, attempt)
  note('ended', source, row, run)
}

function note(kind: 'began' | 'ended', source: string, { id }: Row, run: number): void {
  const file = process.env[NOTES_VARIABLE]
  if (file === undefined) throw new Error(`${NOTES_VARIABLE} is not set`)
  appendFileSync(file, `${JSON.stringify([kind, source, id, process.pid, Date.now(), run])}\n`)
}

/** A line of the log, in the form that the stage reads. */
export function say(instanceId: string, event: string, msg: string): void {
  const line = { time: new Date().toISOString(), level: 'info', event, msg, instance_id: instanceId }
  process.stderr.write(`${JSON.stringify(line)}\n`)
}

export function databaseUrl(): string {
  const url = process.env['DATABASE_URL']
  if (url === undefined) throw new Error('DATABASE_URL is not set')
  return url
}
