import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { EventName } from '../../src/telemetry/eventFields.ts'
import { programEnv, programUrl, type Duty } from './programWay.ts'
import type { Scope } from './scope.ts'
import { until } from './until.ts'

/** One line of a process's log. */
export interface LogLine extends Record<string, unknown> {
  readonly event: EventName
  readonly msg: string
  /** When it was said, in milliseconds; processes of one machine share this clock. */
  readonly at: number
}

export interface Exit {
  readonly code: number | null
  /** By Date.now(). */
  readonly at: number
}

/** A real `tidemark start` process. */
export interface Instance {
  /** Every line so far. */
  readonly lines: readonly LogLine[]
  /** What it wrote to stderr that is no line of the log. */
  readonly other: readonly string[]
  /** Lines of one event, with these fields. */
  of(event: EventName, fields?: Readonly<Record<string, unknown>>): LogLine[]
  /** Waits for the first line of an event with these fields; fails at once when the process ends without it. */
  said(event: EventName, fields?: Readonly<Record<string, unknown>>): Promise<LogLine>
  readonly pid: number | undefined
  /** Signals that it was sent. */
  readonly signals: readonly NodeJS.Signals[]
  /** Its name in the database; known once it has said something. */
  readonly id: string
  /** Where it listens; known once it has said so. */
  readonly address: string
  /** Sends the signal; returns the moment before it, by Date.now(). */
  kill(signal: NodeJS.Signals): number
  readonly exited: Promise<Exit>
}

export interface InstanceOptions {
  readonly databaseUrl: string
  /** Text of the config file, as a user would write it; without one it is the demo. */
  readonly config?: string
  readonly env?: Readonly<Record<string, string>>
  /** Parts of it, with commas. Default: all. */
  readonly only?: string
  /** Another build's. Default: this checkout's. */
  readonly bin?: string
}

const BIN = resolve(import.meta.dirname, '../../bin/tidemark.js')

/** Starts a process with a config file of its own; what is left of it at the end of the test is killed. */
export async function startInstance(scope: Scope, options: InstanceOptions): Promise<Instance> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-instance-'))
  const what = options.config === undefined ? ['--demo'] : ['--config', await write(folder, options.config)]
  const only = options.only === undefined ? [] : ['--only', options.only]
  const child = spawn(process.execPath, [options.bin ?? BIN, 'start', ...what, ...only], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: process.env['PATH'] ?? '',
      // Many are started: what one has compiled the next need not.
      NODE_COMPILE_CACHE: join(tmpdir(), 'tidemark-compiled'),
      ...addresses(options),
      HOST: '127.0.0.1',
      PORT: '0',
      LOG_FORMAT: 'json',
      ...options.env,
    },
  })
  const lines: LogLine[] = []
  const other: string[] = []
  let exit: Exit | undefined
  createInterface(child.stderr).on('line', (text) => {
    const line = parsed(text)
    if (line === undefined) other.push(text)
    else lines.push(line)
  })
  const exited = new Promise<Exit>((done) => {
    child.on('exit', () => (exit = { code: child.exitCode, at: Date.now() }))
    child.on('close', (code) => done(exit ?? { code, at: Date.now() }))
  })
  scope.after(async () => {
    child.kill('SIGKILL')
    await exited
    await rm(folder, { recursive: true, force: true })
  })

  const of: Instance['of'] = (event, fields = {}) =>
    lines.filter(
      (line) => line.event === event && Object.entries(fields).every(([name, value]) => line[name] === value),
    )
  const first = (name: string): string => {
    const value = lines.map((line) => line[name]).find((found) => found !== undefined)
    if (typeof value !== 'string') throw new Error(`no line has told the ${name} yet`)
    return value
  }
  const signals: NodeJS.Signals[] = []
  return {
    lines,
    other,
    signals,
    get pid() {
      return child.pid
    },
    of,
    async said(event, fields = {}) {
      return until(
        `${event} ${JSON.stringify(fields)}`,
        () => {
          const found = of(event, fields)[0]
          if (found !== undefined || exit === undefined) return found
          const last = [...lines.slice(-8).map((line) => line.msg), ...other].join('\n  ')
          throw new Error(`The process exited with ${exit.code} before ${event}. It said last:\n  ${last}`)
        },
        60_000,
      )
    },
    get id() {
      return first('instance_id')
    },
    get address() {
      return first('address')
    },
    kill(signal) {
      // Taken before: whom the signal wakes or ends may act before this process is on again.
      const at = Date.now()
      signals.push(signal)
      child.kill(signal)
      return at
    },
    exited,
  }
}

/** The demo makes tables of its own in our schema. Whoever names a direct address has chosen both. */
function addresses({ databaseUrl, config, env }: InstanceOptions): Readonly<Record<string, string>> {
  const duty: Duty = config === undefined ? 'own' : 'work'
  if (env?.['DIRECT_DATABASE_URL'] !== undefined) return { DATABASE_URL: programUrl(databaseUrl, duty) }
  return programEnv(databaseUrl, duty)
}

async function write(folder: string, config: string): Promise<string> {
  const file = join(folder, 'tidemark.config.mjs')
  await writeFile(file, config)
  return file
}

/** Undefined for a line that is none of the log's: Node's own warnings, a crash. */
function parsed(text: string): LogLine | undefined {
  try {
    // The log's own lines have all of these; whatever else may be JSON on stderr has no `event`.
    const line = JSON.parse(text) as LogLine & { readonly time: string }
    return 'event' in line ? { ...line, at: Date.parse(line.time) } : undefined
  } catch {
    return undefined
  }
}
