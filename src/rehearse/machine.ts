/**
 * One machine of a rehearsal: a real process of `tidemark start` on this host, seen as Fly.io sees its machines, by its
 * checks, its exit and its log.
 */
import { fork } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pause } from '../kit/pause.ts'

export type Colour = 'blue' | 'green'

export interface MachineOptions {
  /** What every machine runs, with its arguments and environment. */
  readonly program: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Folder for what they say, a file each. */
  readonly logs: string
}

export interface Machine {
  readonly name: string
  /** Its name in the database; undefined until it has said something. */
  readonly instanceId: string | undefined
  /** A task of it that did not start, and why. */
  readonly failure: string | undefined
  /** Lines of these events so far. */
  readonly counted: Readonly<Record<(typeof COUNTED)[number], number>>
  /** What its newest lines say. */
  readonly lastLines: readonly string[]
  readonly running: boolean
  /** Somebody told it to end. */
  readonly told: boolean
  /** Whether all its checks pass: `/ready` answers 200. */
  ready(): Promise<boolean>
  signal(name: 'SIGTERM' | 'SIGKILL'): void
  /** Its exit code, or null after a signal, once all that it said has been read. */
  readonly exited: Promise<number | null>
}

const COUNTED = ['stale_write_refused'] as const

/** A check that takes longer has failed, as Fly.io's does. */
const CHECK_TIMEOUT_MS = 2_000
/** How often checks are made while a machine starts. */
const CHECK_EVERY_MS = 50

const LAST_LINES = 5

export function startMachine(name: string, release: string, options: MachineOptions): Machine {
  const { program, args, env, logs } = options
  const child = fork(program, args, {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: [],
    env: { ...env, RELEASE: release, FLY_MACHINE_ID: name },
  })
  const file = createWriteStream(join(logs, `${name}.log`), { flags: 'a' })
  // A full disk ends neither the rehearsal nor the machine.
  file.on('error', () => undefined)
  const known: { instance_id?: string; address?: string; failure?: string } = {}
  const counted = { stale_write_refused: 0 }
  const lastLines: string[] = []
  let running = true
  let told = false

  function read(text: string): void {
    file.write(`${text}\n`)
    const line = parsed(text)
    lastLines.push(line['msg'] ?? text)
    if (lastLines.length > LAST_LINES) lastLines.shift()
    if (line['instance_id'] !== undefined) known.instance_id ??= line['instance_id']
    if (line['address'] !== undefined) known.address ??= line['address']
    if (line['event'] === 'task_failed_to_start' && line['msg'] !== undefined) known.failure ??= line['msg']
    for (const event of COUNTED) if (line['event'] === event) counted[event] += 1
  }
  if (child.stderr !== null) createInterface(child.stderr).on('line', read)
  const exited = new Promise<number | null>((done) => {
    child.on('close', done)
    // A program that cannot be started has no exit.
    child.on('error', () => done(null))
  }).then((code) => {
    running = false
    return new Promise<number | null>((done) => file.end(() => done(code)))
  })

  return {
    name,
    counted,
    lastLines,
    get instanceId() {
      return known.instance_id
    },
    get failure() {
      return known.failure
    },
    get running() {
      return running
    },
    get told() {
      return told
    },
    async ready() {
      if (known.address === undefined || !running) return false
      return answers(`${known.address}/ready`)
    },
    signal(signal) {
      told = true
      child.kill(signal)
    },
    exited,
  }
}

/** Waits until the checks of all pass; false when one ends before, or the time is up. */
export async function allReady(
  machines: readonly Machine[],
  limitMs: number,
  stop: AbortSignal,
): Promise<boolean> {
  const deadline = performance.now() + limitMs
  for (;;) {
    stop.throwIfAborted()
    const passed = await Promise.all(machines.map((machine) => machine.ready()))
    if (passed.every(Boolean)) return true
    if (machines.some(({ running }) => !running) || performance.now() > deadline) return false
    await pause(CHECK_EVERY_MS, stop)
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(CHECK_TIMEOUT_MS) })
    await response.body?.cancel()
    return response.status === 200
  } catch {
    return false
  }
}

/** The fields of a line of the log that are text; of any other line, none. */
function parsed(text: string): Record<string, string> {
  try {
    const line: unknown = JSON.parse(text)
    if (typeof line !== 'object' || line === null) return {}
    return Object.fromEntries(Object.entries(line).filter(([, value]) => typeof value === 'string'))
  } catch {
    return {}
  }
}
