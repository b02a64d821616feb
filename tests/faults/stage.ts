import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Pool } from 'pg'
import { createDatabaseOn, migrateForTest } from '../support/databaseOn.ts'
import { relay } from '../support/relay.ts'
import type { Relay } from '../support/relay.ts'
import { SERVER_VARIABLE } from '../support/server.ts'
import { pgbouncer } from '../support/pgbouncer.ts'
import type { Scope } from '../support/scope.ts'
import { atEnd } from '../support/scope.ts'
import { until } from '../support/until.ts'
import { LED_TASKS } from './config.ts'
import type { HandlerLimits } from './config.ts'
import { Machines } from './machines.ts'
import { PROGRAMS } from './program.ts'
import type { Program } from './program.ts'
import { ownServer } from './server.ts'
import type { OwnServer } from './server.ts'
import { startWriters } from './writers.ts'
import type { Habits, Writers } from './writers.ts'

const TABLES = readFileSync(join(import.meta.dirname, 'tables.sql'), 'utf8')

/** So many effects after a fault show that a baseline works again. */
const FLOWS_ON = 10

/** What a fault asks of its stage. */
export interface Setting {
  /** A server of its own, which it restarts, crashes or sets up. Default: the server of all. */
  readonly ownServer?: Readonly<Record<string, string>>
  /** What stands between the instances and the server: one relay for all, one for each, or a pooler. */
  readonly way?: 'relay' | 'relays' | 'pgbouncer'
  /** Why an external handler that has ended may run again here, and an attempt be burned. Default: neither may. */
  readonly mayRunAgain?: string
  readonly mayBurn?: string
  /** Connections break: the answer to a fetch of a job may be lost, and pg-boss takes the job for active for 60 s. */
  readonly mayLoseAnswers?: true
  readonly limits?: HandlerLimits
  readonly habits?: Habits
  /** Environment of the instances. */
  readonly env?: Readonly<Record<string, string>>
}

/** Where one run takes place. */
export interface Stage {
  readonly scope: Scope
  readonly seed: number
  /** What is put to the test. */
  readonly program: Program
  /** Straight to the server, as its superuser: the run's own eyes and hands. */
  readonly pool: Pool
  readonly directUrl: string
  /** Address that the instances use. */
  readonly url: string
  readonly machines: Machines
  readonly relay: Relay | undefined
  readonly server: OwnServer | undefined
  readonly notes: string
  readonly number: (sql: string, values?: readonly unknown[]) => Promise<number>
  /** Effects so far, of all handlers. */
  readonly effects: () => Promise<number>
  /** Waits until so many more effects are there: the line works. */
  readonly flows: (more: number) => Promise<void>
  /** Waits until rows that are written now have their effect, one of each source. */
  readonly freshRowsArePassed: (limitMs?: number) => Promise<void>
  /** Starts the writers; the run stops them. */
  readonly write: () => Writers
}

export interface StageOptions {
  /** Another build of Tidemark. Default: this checkout. */
  readonly bin?: string
  /** Default: Tidemark. */
  readonly program?: Program
}

/** Builds the world of one run: database, tables, what stands in between. No instance runs yet. */
export async function setStage(
  scope: Scope,
  setting: Setting,
  seed: number,
  { bin, program = PROGRAMS.tidemark }: StageOptions = {},
): Promise<Stage> {
  const server = setting.ownServer === undefined ? undefined : await ownServer(scope, setting.ownServer)
  let directUrl: string
  let name = 'own'
  if (server === undefined) {
    const database = await createDatabaseOn(sharedServer(), scope)
    directUrl = database.url
    ;({ name } = database)
  } else {
    directUrl = server.url
    await migrateForTest(directUrl)
  }
  const pool = new Pool({ connectionString: directUrl, max: 5, connectionTimeoutMillis: 20_000 })
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  scope.after(() => pool.end())
  await pool.query(TABLES)
  if (program.tables !== undefined) await pool.query(program.tables)
  await pool.query('INSERT INTO expectation VALUES ($1, $2, $3, $4)', [
    setting.mayRunAgain !== undefined,
    setting.mayBurn !== undefined,
    setting.mayLoseAnswers === true,
    setting.way === 'pgbouncer',
  ])

  const folder = mkdtempSync(join(tmpdir(), 'tidemark-faults-'))
  atEnd(scope, () => rmSync(folder, { recursive: true, force: true }))
  const notes = join(folder, 'runs')
  writeFileSync(notes, '')

  const way = setting.way === 'relay' ? await openRelay(scope, directUrl) : undefined
  const url =
    way?.url ?? (setting.way === 'pgbouncer' ? await pgbouncer(scope, directUrl, 'transaction') : directUrl)
  const machines = new Machines(scope, pool, {
    databaseUrl: url,
    ...(setting.way === 'pgbouncer' ? { directUrl } : {}),
    notes,
    ...(setting.limits === undefined ? {} : { limits: setting.limits }),
    ...(setting.env === undefined ? {} : { env: setting.env }),
    ...bins(bin ?? program.bin),
    ...(setting.way === 'relays' ? { ownWay: () => openRelay(scope, directUrl) } : {}),
    leader: program.leader,
  })

  const number: Stage['number'] = async (sql, values = []) =>
    Number((await pool.query<{ n: string }>(sql, [...values])).rows[0]?.n ?? 0)
  const ended = endedIn(notes)
  const effects = async (): Promise<number> => (await number('SELECT count(*) AS n FROM effect')) + ended()
  const flows = async (more: number): Promise<void> => {
    const before = await effects()
    await until(`${more} more effects`, async () => (await effects()) >= before + more, program.patienceMs)
  }
  return {
    scope,
    seed,
    program,
    pool,
    directUrl,
    url,
    machines,
    relay: way,
    server,
    notes,
    number,
    effects,
    flows,
    async freshRowsArePassed(limitMs = 90_000) {
      // A baseline may lose the very rows that are waited for.
      if (program.name !== 'tidemark') return flows(FLOWS_ON)
      const ids = await until('rows to be written', () => writeOneEach(pool).catch(() => undefined), limitMs)
      await until(
        'fresh rows to be processed',
        async () => (await openOf(pool, ids).catch(() => ids.length)) === 0,
        limitMs,
      )
    },
    write: () => startWriters(directUrl, name, seed, { ...setting.habits, ...program.habits }),
  }
}

async function openRelay(scope: Scope, to: string): Promise<Relay> {
  const way = await relay(scope, to)
  await way.open()
  return way
}

const bins = (bin: string | undefined): { bin?: string } => (bin === undefined ? {} : { bin })

/** Starts the instances; returns when every led task has its leader. */
export async function startMachines({ machines, pool, program }: Stage, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => machines.start()))
  if (program.name !== 'tidemark') return
  await until(
    'every task to be led',
    async () => {
      const { rows } = await pool.query('SELECT FROM service_ops.background_task_leader')
      return rows.length === LED_TASKS.length
    },
    60_000,
  )
}

interface Note {
  readonly kind: 'began' | 'ended'
  readonly source: string
  readonly messageId: string
  readonly pid: number
  readonly at: number
  /** Number of the run in its process. */
  readonly run: number
}

/** What external handlers noted. A process that is killed may leave half a line. */
export function noted(file: string): Note[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith(']'))
    .map((line) => {
      // Written by the config's `note`, in this order.
      const [kind, source, messageId, pid, at, run] = JSON.parse(line) as [
        Note['kind'],
        string,
        string,
        number,
        number,
        number,
      ]
      return { kind, source, messageId, pid, at, run }
    })
}

/** Counts the runs that have ended; reads only what was noted since the last count. */
function endedIn(file: string): () => number {
  let at = 0
  let count = 0
  return () => {
    const text = readFileSync(file).subarray(at).toString()
    const whole = text.slice(0, text.lastIndexOf('\n') + 1)
    at += Buffer.byteLength(whole)
    count += whole.split('["ended"').length - 1
    return count
  }
}

/** One row each that behaves well, committed. */
async function writeOneEach(pool: Pool): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>(
    `WITH o AS (INSERT INTO orders DEFAULT VALUES RETURNING id), c AS (INSERT INTO calls DEFAULT VALUES RETURNING id),
          t AS (INSERT INTO tally DEFAULT VALUES RETURNING id)
     SELECT 'orders ' || id AS id FROM o UNION ALL SELECT 'calls ' || id FROM c UNION ALL SELECT 'tally ' || id FROM t`,
  )
  return rows.map(({ id }) => id)
}

async function openOf(pool: Pool, ids: readonly string[]): Promise<number> {
  const { rows } = await pool.query<{ n: string }>(
    `SELECT count(*) AS n FROM service_ops.integration_inbox WHERE source || ' ' || message_id = ANY ($1) AND status = 'DONE'
        AND source IN ('orders', 'calls', 'tally') AND created_at > now() - interval '5 minutes'`,
    [[...ids]],
  )
  return ids.length - Number(rows[0]?.n)
}

/** The server of all runs, which whoever runs them has started. */
function sharedServer(): string {
  const url = process.env[SERVER_VARIABLE]
  if (url === undefined)
    throw new Error(`${SERVER_VARIABLE} is not set: run this by npm run faults or npm test`)
  return url
}
