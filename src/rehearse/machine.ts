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
  /** Program that a child process runs; its arguments. */
  readonly program: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Folder for what it says. */
  readonly logs: string
}

export interface Machine {
  readonly name: string
  readonly colour: Colour
  /** Its name in the database; undefined until it has said something. */
  readonly instanceId: string | undefined
  /** Lines of these events so far. */
  readonly counted: Readonly<Record<(typeof COUNTED)[number], number>>
  /** The newest lines that it wrote: why it ended, when it ended unasked. */
  readonly lastLines: readonly string[]
  readonly running: boolean
  /** True as soon as somebody told it to end. */
  readonly told: boolean
  /** Whether all its checks pass: `/ready` answers 200. */
  ready(): Promise<boolean>
  signal(name: 'SIGTERM' | 'SIGKILL'): void
  readonly exited: Promise<number | null>
}

const COUNTED = ['stale_write_refused'] as const

/** A check that takes longer has failed, as Fly.io's does. */
const CHECK_TIMEOUT_MS = 2_000

const LAST_LINES = 8

export function startMachine(
  name: string,
  colour: Colour,
  release: string,
  { program, args, env, logs }: MachineOptions,
): Machine {
  const child = fork(program, args, {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: [],
    env: { ...env, RELEASE: release, FLY_MACHINE_ID: name },
  })
  const file = createWriteStream(join(logs, `${name}.log`), { flags: 'a' })
  // A full disk ends neither the rehearsal nor the machine.
  file.on('error', () => undefined)
  const counted = { stale_write_refused: 0 }
  const lastLines: string[] = []
  let instanceId: string | undefined
  let address: string | undefined
  let running = true
  let told = false

  const read = (text: string): void => {
    file.write(`${text}\n`)
    lastLines.push(text)
    if (lastLines.length > LAST_LINES) lastLines.shift()
    const line = parsed(text)
    if (typeof line['instance_id'] === 'string') instanceId ??= line['instance_id']
    if (typeof line['address'] === 'string') address ??= line['address']
    for (const event of COUNTED) if (line['event'] === event) counted[event] += 1
  }
  if (child.stderr !== null) createInterface(child.stderr).on('line', read)
  const exited = new Promise<number | null>((done) => {
    // A program that cannot be started at all has no exit.
    child.on('error', () => done(null))
    child.on('close', done)
  }).then(
    (code) =>
      new Promise<number | null>((done) => {
        running = false
        file.end(() => done(code))
      }),
  )

  return {
    name,
    colour,
    counted,
    lastLines,
    get instanceId() {
      return instanceId
    },
    get running() {
      return running
    },
    get told() {
      return told
    },
    async ready() {
      if (address === undefined || !running) return false
      return fetch(`${address}/ready`, { signal: AbortSignal.timeout(CHECK_TIMEOUT_MS) }).then(
        async (response) => {
          await response.body?.cancel()
          return response.status === 200
        },
        () => false,
      )
    },
    signal(signal) {
      told = true
      child.kill(signal)
    },
    exited,
  }
}

/** How often checks are made while a machine starts. */
const CHECK_EVERY_MS = 50

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

function parsed(text: string): Record<string, unknown> {
  try {
    const line: unknown = JSON.parse(text)
    return typeof line === 'object' && line !== null ? { ...line } : {}
  } catch {
    return {}
  }
}
