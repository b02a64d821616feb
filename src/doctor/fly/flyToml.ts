/**
 * `fly.toml` as far as it matters here. Fly.io itself takes several forms of most sections and ignores what it does not know,
 * so what is not there, or has another form, is simply not there; that the file is TOML at all is the one thing asked of it.
 */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { parse, TomlError } from 'smol-toml'

export interface FlyApp {
  /** As it is shown. */
  readonly file: string
  readonly killSignal: string | null
  /** Null: not said. */
  readonly killTimeoutS: number | null
  readonly strategy: string | null
  readonly releaseCommand: string | null
  /** How long the release command may run; null: not said. */
  readonly releaseTimeoutS: number | null
  readonly waitTimeoutS: number | null
  readonly hasMaxUnavailable: boolean
  readonly env: Readonly<Record<string, string>>
  /** Process groups with their commands; an empty command is the image's own. */
  readonly groups: Readonly<Record<string, string>>
  readonly checks: readonly FlyCheck[]
  readonly restarts: readonly { readonly policy: string; readonly groups: readonly string[] }[]
  readonly services: readonly FlyService[]
  readonly mounts: readonly { readonly source: string; readonly groups: readonly string[] }[]
  readonly metrics: readonly { readonly port: number | null; readonly path: string | null }[]
  /** Text of the Dockerfile; null where there is none. */
  readonly dockerfile: string | null
}

export interface FlyCheck {
  readonly type: string | null
  readonly port: number | null
  readonly path: string | null
  /** None: all. */
  readonly groups: readonly string[]
  readonly hasRestartLimit: boolean
}

export interface FlyService {
  readonly internalPort: number | null
  readonly groups: readonly string[]
  /** `auto_stop_machines` where it is on: `stop`, `suspend`, `true`. */
  readonly autoStop: string | null
}

/** The file is not TOML: where, and what was met there. */
export class FlyTomlInvalid extends Error {
  override readonly name = 'FlyTomlInvalid'
  constructor(file: string, cause: TomlError) {
    super(
      `${file} cannot be read at line ${cause.line}, column ${cause.column}: ${firstLine(cause.message)}`,
      { cause },
    )
  }
}

/** Reads the file; undefined when there is none. @throws FlyTomlInvalid */
export function readFly(path: string, cwd: string): FlyApp | undefined {
  if (!existsSync(path)) return undefined
  const file = relative(cwd, path)
  let read: unknown
  try {
    read = parse(readFileSync(path, 'utf8'))
  } catch (error) {
    if (error instanceof TomlError) throw new FlyTomlInvalid(file, error)
    throw error
  }
  const top = table(read)
  const build = table(top['build'])
  const dockerfile = join(dirname(path), text(build['dockerfile']) ?? 'Dockerfile')
  return {
    ...appOf(top, file),
    dockerfile:
      build['image'] === undefined && existsSync(dockerfile) ? readFileSync(dockerfile, 'utf8') : null,
  }
}

function appOf(top: Table, file: string): Omit<FlyApp, 'dockerfile'> {
  const deploy = table(top['deploy'])
  const services = [...tables(top['services']), ...tables(top['http_service'])]
  const groups = Object.entries(table(top['processes'])).map(([name, command]) => [name, text(command) ?? ''])
  return {
    file,
    killSignal: text(top['kill_signal']),
    killTimeoutS: seconds(top['kill_timeout']),
    strategy: text(deploy['strategy']),
    releaseCommand: text(deploy['release_command']),
    releaseTimeoutS: seconds(deploy['release_command_timeout']),
    waitTimeoutS: seconds(deploy['wait_timeout']),
    hasMaxUnavailable: deploy['max_unavailable'] !== undefined,
    env: Object.fromEntries(Object.entries(table(top['env'])).map(([name, value]) => [name, plain(value)])),
    // Without groups there is one, of this name.
    groups: Object.fromEntries(groups.length === 0 ? [['app', '']] : groups) as Record<string, string>,
    checks: [
      ...Object.values(table(top['checks'])).map((check) => checkOf(table(check))),
      ...services.flatMap((service) =>
        ['checks', 'http_checks', 'tcp_checks'].flatMap((form) =>
          tables(service[form]).map((check) => ({
            ...checkOf(check, form === 'tcp_checks' ? 'tcp' : 'http'),
            port: number(service['internal_port']),
            groups: names(service['processes']),
          })),
        ),
      ),
    ],
    restarts: tables(top['restart']).map((one) => ({
      policy: text(one['policy']) ?? '',
      groups: names(one['processes']),
    })),
    services: services.map((one) => ({
      internalPort: number(one['internal_port']),
      groups: names(one['processes']),
      autoStop: autoStop(one['auto_stop_machines']),
    })),
    mounts: tables(top['mounts']).map((one) => ({
      source: text(one['source']) ?? '?',
      groups: names(one['processes']),
    })),
    metrics: tables(top['metrics']).map((one) => ({ port: number(one['port']), path: text(one['path']) })),
  }
}

function checkOf(check: Table, type: string | null = null): FlyCheck {
  return {
    type: text(check['type']) ?? type,
    port: number(check['port']),
    path: text(check['path']),
    groups: names(check['processes']),
    hasRestartLimit: check['restart_limit'] !== undefined,
  }
}

/** Whether something that names these groups, or none, is for this group. */
export function isFor(group: string, groups: readonly string[]): boolean {
  return groups.length === 0 || groups.includes(group)
}

type Table = Readonly<Record<string, unknown>>

function table(value: unknown): Table {
  // Only read by key, and each value is looked at as `unknown`.
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Table) : {}
}

/** A list of tables, or the one table that Fly.io takes for a list of one. */
function tables(value: unknown): readonly Table[] {
  if (value === undefined) return []
  return Array.isArray(value) ? value.map(table) : [table(value)]
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

/** A value of the environment; Fly.io takes none that is a table or a list. */
function plain(value: unknown): string {
  if (typeof value === 'string') return value
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : ''
}

function number(value: unknown): number | null {
  return typeof value === 'number' ? value : null
}

function names(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((name) => typeof name === 'string') : []
}

function autoStop(value: unknown): string | null {
  if (value === undefined || value === false || value === 'off') return null
  return text(value) ?? 'on'
}

const UNIT_S: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 0.001 }

/** Whole seconds, or a span as Go writes it: `45`, `"45"`, `"45s"`, `"1m30s"`. */
function seconds(value: unknown): number | null {
  if (typeof value === 'number') return value
  if (typeof value !== 'string') return null
  if (/^\d+$/.test(value)) return Number(value)
  if (!/^(\d+(\.\d+)?(ms|h|m|s))+$/.test(value)) return null
  return [...value.matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)].reduce(
    (sum, [, amount, unit = 's']) => sum + Number(amount) * (UNIT_S[unit] ?? 1),
    0,
  )
}

function firstLine(message: string): string {
  return message.split('\n', 1)[0] ?? ''
}
