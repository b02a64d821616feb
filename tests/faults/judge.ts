import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../support/until.ts'
import type { Fault } from './fault.ts'
import { noted } from './stage.ts'
import type { Stage } from './stage.ts'

/** Something that must be true after every run, and what its violations count as. */
export interface Invariant {
  readonly name: string
  readonly title: string
  readonly counts: 'lost' | 'doubled' | 'burned' | undefined
  /** Sessions end a moment after their processes: it is asked until it holds, for so long. */
  readonly settleMs: number
  readonly query: string
}

/** What one run came to. */
export interface Verdict {
  readonly rows: number
  readonly lost: number
  readonly doubled: number
  /** External handlers that ran to their end more than once, where the fault explains it. */
  readonly ranAgain: number
  readonly burned: number
  readonly staleRefused: number
  readonly silenceMs: number
  /** Broken invariants: name, count and first case. */
  readonly broken: readonly string[]
}

const FOLDER = join(import.meta.dirname, 'invariants')

export const INVARIANTS: readonly Invariant[] = readdirSync(FOLDER)
  .sort()
  .map((file) => {
    const text = readFileSync(join(FOLDER, file), 'utf8')
    const title = /^-- title: (.+)$/m.exec(text)?.[1]
    if (title === undefined) throw new Error(`${file} has no title`)
    // The files are ours, and this is the only word that stands there.
    const counts = /^-- counts: (lost|doubled|burned)$/m.exec(text)?.[1] as Invariant['counts']
    const settleMs = Number(/^-- settles within: (\d+) s$/m.exec(text)?.[1] ?? 0) * 1000
    return { name: file.replace('.sql', ''), title, counts, settleMs, query: text }
  })

/** Asks every invariant, when everything has come to its end and every process has left. */
export async function judge(stage: Stage, fault: Fault): Promise<Verdict> {
  const { pool, number, program } = stage
  await pool.query(
    'INSERT INTO run SELECT * FROM jsonb_to_recordset($1) AS r(source text, message_id text, pid integer, began timestamptz, ended timestamptz, ok boolean)',
    [JSON.stringify(runsOf(stage.notes))],
  )
  await pool.query(
    'INSERT INTO disturbed SELECT * FROM unnest($1::integer[], $2::boolean[])',
    disturbed(stage),
  )
  const counted = { lost: 0, doubled: 0, burned: 0 }
  const broken: string[] = []
  for (const { name, title, counts, settleMs, query } of INVARIANTS) {
    if (fault.without?.[name] !== undefined || program.invariants?.includes(name) === false) continue
    const ask = async () => (await pool.query<{ found: string; detail: string | null }>(query)).rows[0]
    const holds = async () => Number((await ask())?.found) === 0
    if (settleMs > 0) await until(name, holds, settleMs).catch(() => undefined)
    const answer = await ask()
    const found = Number(answer?.found)
    if (found === 0) continue
    if (counts !== undefined) counted[counts] = Math.max(counted[counts], found)
    broken.push(`${name}: ${found} (${answer?.detail ?? 'no detail'}). ${title}`)
  }
  const [silence] = (await pool.query<{ ms: string; detail: string }>(program.silence)).rows
  const silenceMs = Math.round(Number(silence?.ms ?? 0))
  if (silenceMs > (fault.silenceMs ?? Infinity))
    broken.push(`silence: ${silenceMs} ms (${silence?.detail ?? ''}). ${fault.silenceMs} ms are allowed`)
  return {
    ...counted,
    rows: await number('SELECT count(*) AS n FROM source_row'),
    ranAgain: await number(
      `SELECT coalesce(sum(n - 1), 0) AS n FROM (SELECT count(*) AS n FROM run WHERE ok GROUP BY source, message_id) r`,
    ),
    staleRefused: stage.machines.count('stale_write_refused'),
    silenceMs,
    broken,
  }
}

/** Processes that were killed or frozen, or ended by themselves, and whether they died. */
function disturbed({ machines }: Stage): [number[], boolean[]] {
  const found = machines.all.flatMap((one) => {
    const died = one.signals.includes('SIGKILL') || machines.endedBadly(one)
    return one.pid !== undefined && (died || one.signals.includes('SIGSTOP')) ? [{ pid: one.pid, died }] : []
  })
  return [found.map(({ pid }) => pid), found.map(({ died }) => died)]
}

/** Runs of external handlers: a beginning, and the end that the same process noted for it, if it did. */
function runsOf(file: string): Record<string, unknown>[] {
  const runs: {
    source: string
    message_id: string
    pid: number
    began: string
    ended: string | null
    ok: boolean
  }[] = []
  const open = new Map<string, (typeof runs)[number]>()
  for (const { kind, source, messageId, pid, at, run: number } of noted(file)) {
    const key = `${pid} ${number}`
    const time = new Date(at).toISOString()
    if (kind === 'began') {
      const run = { source, message_id: messageId, pid, began: time, ended: null, ok: false }
      runs.push(run)
      open.set(key, run)
    } else Object.assign(open.get(key) ?? {}, { ended: time, ok: true })
  }
  return runs
}
