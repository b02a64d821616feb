import { z } from 'zod'
import { ENVIRONMENT, SECRET } from '../../src/config/settings.ts'
import { table } from './table.ts'

type Name = keyof z.input<typeof ENVIRONMENT>

interface Told {
  readonly meaning: string
  /** Where the schema has none of its own: what stands in. */
  readonly otherwise?: string
}

/** What each variable is for; that none is missing is for the compiler. Its form and its default are the schema's. */
const TOLD: Readonly<Record<Name, Told>> = {
  DATABASE_URL: { meaning: 'the database, pooled or direct', otherwise: 'an embedded PostgreSQL' },
  DIRECT_DATABASE_URL: {
    meaning: 'its address for sessions: migrations, LISTEN and the lock that shows who lives',
    otherwise: '`DATABASE_URL`',
  },
  PORT: { meaning: 'HTTP; 0 is any free one. The demo takes the next free one' },
  OPS_PORT: {
    meaning: 'when set, `/`, `/status`, `/metrics` and `/admin` are answered on this port alone',
    otherwise: 'none',
  },
  HOST: {
    meaning: 'the address to listen on',
    otherwise: '127.0.0.1 with the embedded database, else all, IPv6 too',
  },
  SERVICE_NAME: {
    meaning: 'in every log line, in `/health` and in records',
    otherwise: "`FLY_APP_NAME`, or the package's name",
  },
  RELEASE: {
    meaning: 'the same, for the release',
    otherwise: "the tag of `FLY_IMAGE_REF`, or the package's version",
  },
  RUN_MIGRATIONS: { meaning: '0: `start` checks the schema and changes nothing' },
  MIGRATION_LOCK_WAIT_SECONDS: {
    meaning:
      'then `start` goes on if the schema fits; if not it stays up, not ready, and names who holds the lock',
  },
  MIGRATION_STATEMENT_TIMEOUT_SECONDS: { meaning: 'for one statement of a migration' },
  DATABASE_CONNECT_ATTEMPTS: { meaning: 'tries at start, 0, 2, 4, 8, 16 s apart' },
  DATABASE_CONNECT_TIMEOUT_SECONDS: { meaning: 'for one try, and for every later connection' },
  DB_POOL_MAX: {
    meaning: 'connections for work, pg-boss’s among them; where it is too small, fewer handlers run at once',
    otherwise: 'transactional concurrency + 4, at least 10',
  },
  DB_POOL_RESERVED: {
    meaning: 'on top, for leases. Four more: the sentinel, one that looks, two that LISTEN',
  },
  DB_STATEMENT_TIMEOUT_SECONDS: { meaning: 'for one statement' },
  DB_LOCK_TIMEOUT_SECONDS: { meaning: 'for one wait for a lock' },
  DB_IDLE_IN_TRANSACTION_SECONDS: { meaning: 'for a transaction that does nothing; a handler’s is exempt' },
  REQUEST_TIMEOUT_SECONDS: { meaning: 'for an HTTP request' },
  LEADER_HEARTBEAT_SECONDS: { meaning: 'time between two proofs of life of a leader' },
  LEADER_LEASE_SECONDS: {
    meaning: 'after it a leader that gave none is replaced; `LEADER_HEARTBEAT_SECONDS` + 3 at least',
  },
  DRAIN_TIMEOUT_SECONDS: { meaning: 'how long a drain waits for handlers; what is left is given back' },
  SHUTDOWN_TIMEOUT_SECONDS: { meaning: 'for the whole of it; no less than `DRAIN_TIMEOUT_SECONDS`' },
  LOG_LEVEL: { meaning: 'the least level that is written' },
  LOG_FORMAT: { meaning: 'one object a line, or for people', otherwise: 'json; pretty on a terminal' },
  ADMIN_TOKEN: {
    meaning: 'whoever brings it may act, by `/admin` and in the dashboard',
    otherwise: 'none: nobody may',
  },
  INTAKE_TOKEN: {
    meaning: 'whoever brings it may send to `/inbox/…`',
    otherwise: 'none: only signed requests are taken',
  },
  CORS_ORIGINS: {
    meaning: 'pages of these origins may send to `/inbox/…`; `*`, any, only where no token is set',
  },
  DASHBOARD: {
    meaning: 'who may see the dashboard and `/status`',
    otherwise: 'token with `ADMIN_TOKEN`, else public on loopback, else off',
  },
  TIDEMARK_DATA_DIR: { meaning: 'folder of the embedded database' },
  DEMO_RATE: { meaning: 'messages a second that the demo writes' },
  FLY_MACHINE_ID: { meaning: 'Fly.io sets it: this machine', otherwise: 'none' },
  FLY_REGION: { meaning: 'the same: its region', otherwise: 'none' },
  FLY_IMAGE_REF: { meaning: 'the same: its image, whose tag is the release', otherwise: 'none' },
  FLY_APP_NAME: { meaning: 'the same: the name of the app', otherwise: 'none' },
  FLY_PROCESS_GROUP: { meaning: 'the same: its process group', otherwise: 'none' },
}

/** Every variable: form, default, meaning. */
export function describeSettings(): string {
  const rows = Object.entries(TOLD).map(([name, { meaning, otherwise }]) => {
    // The names of the record are those of the schema, as its type says.
    const schema = ENVIRONMENT.shape[name as Name]
    const isSecret = SECRET.has(name) ? ' (secret: shown nowhere)' : ''
    return [`\`${name}\``, formOf(schema), otherwise ?? defaultOf(name, schema), meaning + isSecret]
  })
  rows.push([
    '`<POLLER>_INTERVAL_SECONDS`',
    'seconds, a number from 1 to 2147483',
    'the poller’s `every`',
    'overrides it for one poller: `MESSAGE_POLLER_INTERVAL_SECONDS` for `message_poller`',
  ])
  return table(['variable', 'form', 'default', 'meaning'], rows)
}

/** What the schema says it expects: nothing is of that form when it is empty. */
function formOf(schema: z.ZodType): string {
  return schema.safeParse('').error?.issues[0]?.message ?? 'a text'
}

function defaultOf(name: string, schema: z.ZodType): string {
  const value: unknown = schema.parse(undefined)
  if (typeof value === 'boolean') return value ? '1' : '0'
  if (typeof value === 'number') return String(name.endsWith('_SECONDS') ? value / 1000 : value)
  return typeof value === 'string' ? value : 'none'
}
