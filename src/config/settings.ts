import { resolve } from 'node:path'
import { z } from 'zod'
import { SettingsInvalid, type Fault } from '../errors.ts'
import { OWN_PACKAGE, type PackageFacts } from './packageFacts.ts'
import { databaseUrl, oneOf, onOff, origins, seconds, text, token, whole } from './settingForms.ts'

/** What the environment says, read once at start and then frozen. Times in milliseconds. */
export interface Settings {
  /** Undefined: the embedded server. */
  readonly databaseUrl: string | undefined
  /** Address for session features; `databaseUrl` when not set. */
  readonly directDatabaseUrl: string | undefined
  readonly port: number
  /** Where alone operators are answered; undefined: on `port`, like everybody. */
  readonly opsPort: number | undefined
  readonly host: string
  readonly serviceName: string
  readonly release: string
  readonly runMigrations: boolean
  readonly migrationLockWaitMs: number
  readonly migrationStatementTimeoutMs: number
  readonly connectAttempts: number
  readonly connectTimeoutMs: number
  /** Undefined: transactional concurrency + 4, at least 10. */
  readonly poolMax: number | undefined
  readonly poolReserved: number
  readonly statementTimeoutMs: number
  readonly lockTimeoutMs: number
  readonly idleInTransactionMs: number
  readonly requestTimeoutMs: number
  readonly heartbeatMs: number
  readonly leaseMs: number
  readonly drainTimeoutMs: number
  readonly shutdownTimeoutMs: number
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'critical'
  readonly logFormat: 'json' | 'pretty'
  /** Bearer token of the operator's actions; undefined: they are off. */
  readonly adminToken: string | undefined
  /** Bearer token of `POST /inbox/…`; undefined: only signed requests are taken in. */
  readonly intakeToken: string | undefined
  /** Origins whose pages may send to `/inbox/…`, or `*` alone. */
  readonly corsOrigins: readonly string[]
  /** Who may see the dashboard and `/status`. */
  readonly dashboard: 'off' | 'token' | 'public'
  /** Absolute. */
  readonly dataDir: string
  /** Messages a second that the demo's traffic writer makes. */
  readonly demoRate: number
  /** Overrides of `every`, by poller name, in milliseconds. */
  readonly pollerIntervals: ReadonlyMap<string, number>
  /** FLY_MACHINE_ID and its sisters; null where not on Fly.io. */
  readonly machineId: string | null
  readonly region: string | null
  readonly processGroup: string | null
}

/** What `readSettings` is told besides the environment. */
export interface SettingsContext {
  /** The app that runs us: its name and version stand in for SERVICE_NAME and RELEASE. Default: Tidemark. */
  readonly app?: PackageFacts
  /** Whether logs go to a terminal; decides LOG_FORMAT's default. Default: false. */
  readonly terminal?: boolean
  /**
   * Names of the configured pollers: only their `<NAME>_INTERVAL_SECONDS` are read, so that another program's
   * variable of that form is no fault. Default: every variable of that form is taken.
   */
  readonly pollers?: readonly string[]
}

/** Never shown, in no fault either. */
export const SECRET: ReadonlySet<string> = new Set([
  'DATABASE_URL',
  'DIRECT_DATABASE_URL',
  'ADMIN_TOKEN',
  'INTAKE_TOKEN',
])

/** Two seconds of every lease are not trusted by its holder, and one renewal must fit into the rest. */
const LEASE_MARGIN_SECONDS = 3

/** Every variable with its form and default; defaults that depend on others are below. */
export const ENVIRONMENT = z
  .object({
    DATABASE_URL: databaseUrl.optional(),
    DIRECT_DATABASE_URL: databaseUrl.optional(),
    PORT: whole(0, 65_535).default(8080),
    OPS_PORT: whole(0, 65_535).optional(),
    HOST: text.optional(),
    SERVICE_NAME: text.optional(),
    RELEASE: text.optional(),
    RUN_MIGRATIONS: onOff.default(true),
    MIGRATION_LOCK_WAIT_SECONDS: seconds(0).default(30_000),
    MIGRATION_STATEMENT_TIMEOUT_SECONDS: seconds(1).default(120_000),
    DATABASE_CONNECT_ATTEMPTS: whole(1, 1000).default(5),
    DATABASE_CONNECT_TIMEOUT_SECONDS: seconds(0.1).default(5000),
    DB_POOL_MAX: whole(2, 10_000).optional(),
    DB_POOL_RESERVED: whole(1, 100).default(2),
    DB_STATEMENT_TIMEOUT_SECONDS: seconds(0.1).default(30_000),
    DB_LOCK_TIMEOUT_SECONDS: seconds(0.1).default(5000),
    DB_IDLE_IN_TRANSACTION_SECONDS: seconds(0.1).default(10_000),
    REQUEST_TIMEOUT_SECONDS: seconds(0.1).default(10_000),
    LEADER_HEARTBEAT_SECONDS: seconds(0.1).default(2000),
    LEADER_LEASE_SECONDS: seconds(3).default(10_000),
    DRAIN_TIMEOUT_SECONDS: seconds(0).default(20_000),
    SHUTDOWN_TIMEOUT_SECONDS: seconds(1).default(30_000),
    LOG_LEVEL: oneOf('debug', 'info', 'warn', 'error', 'critical').default('info'),
    LOG_FORMAT: oneOf('json', 'pretty').optional(),
    ADMIN_TOKEN: token.optional(),
    INTAKE_TOKEN: token.optional(),
    CORS_ORIGINS: origins.default([]),
    DASHBOARD: oneOf('off', 'token', 'public').optional(),
    TIDEMARK_DATA_DIR: text.default('.tidemark'),
    DEMO_RATE: whole(0, 100_000).default(5),
    FLY_MACHINE_ID: text.optional(),
    FLY_REGION: text.optional(),
    FLY_IMAGE_REF: text.optional(),
    FLY_APP_NAME: text.optional(),
    FLY_PROCESS_GROUP: text.optional(),
  })
  // Rules between variables are judged even when another variable is at fault, so that all is said at once;
  // a variable that is itself at fault is then still text.
  .refine(
    ({ LEADER_LEASE_SECONDS: lease, LEADER_HEARTBEAT_SECONDS: beat }) =>
      !areNumbers(lease, beat) || lease >= beat + LEASE_MARGIN_SECONDS * 1000,
    {
      path: ['LEADER_LEASE_SECONDS'],
      error: `LEADER_HEARTBEAT_SECONDS + ${LEASE_MARGIN_SECONDS} at least`,
      when: isObject,
    },
  )
  .refine(
    ({ SHUTDOWN_TIMEOUT_SECONDS: all, DRAIN_TIMEOUT_SECONDS: drain }) =>
      !areNumbers(all, drain) || all >= drain,
    {
      path: ['SHUTDOWN_TIMEOUT_SECONDS'],
      error: 'no less than DRAIN_TIMEOUT_SECONDS, which is a part of it',
      when: isObject,
    },
  )
  .refine(({ PORT, OPS_PORT }) => OPS_PORT === undefined || OPS_PORT === 0 || OPS_PORT !== PORT, {
    path: ['OPS_PORT'],
    error: 'another port than PORT, so that only it answers operators',
    when: isObject,
  })
  .refine(
    ({ DATABASE_URL, DIRECT_DATABASE_URL }) =>
      DIRECT_DATABASE_URL === undefined || DATABASE_URL !== undefined,
    { path: ['DIRECT_DATABASE_URL'], error: 'DATABASE_URL beside it', when: isObject },
  )
  .refine(
    ({ CORS_ORIGINS, ADMIN_TOKEN, INTAKE_TOKEN }) =>
      !Array.isArray(CORS_ORIGINS) ||
      !CORS_ORIGINS.includes('*') ||
      (ADMIN_TOKEN === undefined && INTAKE_TOKEN === undefined),
    {
      path: ['CORS_ORIGINS'],
      error: 'origins by name where ADMIN_TOKEN or INTAKE_TOKEN is set: with * any page could use the token',
      when: isObject,
    },
  )
  .refine(({ DASHBOARD, ADMIN_TOKEN }) => DASHBOARD !== 'token' || ADMIN_TOKEN !== undefined, {
    path: ['DASHBOARD'],
    error: "'token' only with ADMIN_TOKEN set",
    when: isObject,
  })

/**
 * Reads and checks the environment. Every variable has a default, an empty one counts as not set, unknown ones
 * are left alone.
 * @throws {SettingsInvalid} naming every fault at once: variable, value where it is no secret, what is expected.
 */
export function readSettings(
  environment: Readonly<Record<string, string | undefined>>,
  context: SettingsContext = {},
): Settings {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value.trim() !== ''),
  )
  const intervals = readIntervals(given, context.pollers)
  const parsed = ENVIRONMENT.safeParse(given)
  const faults: Fault[] = [
    ...(parsed.error?.issues ?? []).map((issue) => faultOf(String(issue.path[0]), issue.message, given)),
    ...intervals.faults,
  ]
  if (!parsed.success || faults.length > 0) throw new SettingsInvalid(faults)

  const env = parsed.data
  const app = context.app ?? OWN_PACKAGE
  const host = env.HOST ?? (env.DATABASE_URL === undefined ? '127.0.0.1' : '::')
  return Object.freeze({
    databaseUrl: env.DATABASE_URL,
    directDatabaseUrl: env.DIRECT_DATABASE_URL ?? env.DATABASE_URL,
    port: env.PORT,
    opsPort: env.OPS_PORT,
    host,
    serviceName: env.SERVICE_NAME ?? env.FLY_APP_NAME ?? app.name,
    release: env.RELEASE ?? imageTag(env.FLY_IMAGE_REF) ?? app.version,
    runMigrations: env.RUN_MIGRATIONS,
    migrationLockWaitMs: env.MIGRATION_LOCK_WAIT_SECONDS,
    migrationStatementTimeoutMs: env.MIGRATION_STATEMENT_TIMEOUT_SECONDS,
    connectAttempts: env.DATABASE_CONNECT_ATTEMPTS,
    connectTimeoutMs: env.DATABASE_CONNECT_TIMEOUT_SECONDS,
    poolMax: env.DB_POOL_MAX,
    poolReserved: env.DB_POOL_RESERVED,
    statementTimeoutMs: env.DB_STATEMENT_TIMEOUT_SECONDS,
    lockTimeoutMs: env.DB_LOCK_TIMEOUT_SECONDS,
    idleInTransactionMs: env.DB_IDLE_IN_TRANSACTION_SECONDS,
    requestTimeoutMs: env.REQUEST_TIMEOUT_SECONDS,
    heartbeatMs: env.LEADER_HEARTBEAT_SECONDS,
    leaseMs: env.LEADER_LEASE_SECONDS,
    drainTimeoutMs: env.DRAIN_TIMEOUT_SECONDS,
    shutdownTimeoutMs: env.SHUTDOWN_TIMEOUT_SECONDS,
    logLevel: env.LOG_LEVEL,
    logFormat: env.LOG_FORMAT ?? (context.terminal === true ? 'pretty' : 'json'),
    adminToken: env.ADMIN_TOKEN,
    intakeToken: env.INTAKE_TOKEN,
    corsOrigins: env.CORS_ORIGINS,
    dashboard: env.DASHBOARD ?? defaultDashboard(env.ADMIN_TOKEN, host),
    dataDir: resolve(env.TIDEMARK_DATA_DIR),
    demoRate: env.DEMO_RATE,
    pollerIntervals: intervals.values,
    machineId: env.FLY_MACHINE_ID ?? null,
    region: env.FLY_REGION ?? null,
    processGroup: env.FLY_PROCESS_GROUP ?? null,
  })
}

/** Whether an address to listen on can be reached from this machine alone. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

function defaultDashboard(adminToken: string | undefined, host: string): Settings['dashboard'] {
  if (adminToken !== undefined) return 'token'
  return isLoopback(host) ? 'public' : 'off'
}

/** The tag of `registry.fly.io/app:deployment-01H…@sha256:…`. */
function imageTag(image: string | undefined): string | undefined {
  return /:([^:/@]+)(?:@.*)?$/.exec(image?.replace(/@.*$/, '') ?? '')?.[1]
}

function readIntervals(given: Readonly<Record<string, string | undefined>>, pollers?: readonly string[]) {
  const values = new Map<string, number>()
  const faults: Fault[] = []
  const form = seconds(1)
  for (const [variable, value] of Object.entries(given)) {
    const name = /^([A-Z][A-Z0-9_]*)_INTERVAL_SECONDS$/.exec(variable)?.[1]?.toLowerCase()
    if (name === undefined || pollers?.includes(name) === false) continue
    const parsed = form.safeParse(value)
    if (parsed.success) values.set(name, parsed.data)
    else faults.push(faultOf(variable, parsed.error.issues[0]?.message ?? 'seconds', given))
  }
  return { values, faults }
}

function faultOf(what: string, expected: string, given: Readonly<Record<string, string | undefined>>): Fault {
  const value = given[what]
  return SECRET.has(what) || value === undefined ? { what, expected } : { what, given: value, expected }
}

function areNumbers(...values: readonly unknown[]): boolean {
  return values.every((value) => typeof value === 'number')
}

function isObject({ value }: { value: unknown }): boolean {
  return typeof value === 'object' && value !== null
}
