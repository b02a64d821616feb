import { until } from '../../support/until.ts'
import { handlersBegin } from '../atWork.ts'
import { SOURCES } from '../config.ts'
import type { Fault } from '../fault.ts'
import type { Ending, OwnServer } from '../server.ts'
import type { Stage } from '../stage.ts'

/** Handlers that are at work while the server goes, and end while it is away or just after. */
const HANDLER_MS = 1_200
/** It is away until everybody has said so, and up to this long on top. */
const AWAY_AT_MOST_MS = 3_000

function serverOf({ server }: Stage): OwnServer {
  if (server === undefined) throw new Error('this fault needs a server of its own')
  return server
}

async function bootTime({ pool }: Stage): Promise<string> {
  return until('the server to answer', async () => {
    const answer = await pool
      .query<{ boot: string }>('SELECT pg_postmaster_start_time()::text AS boot')
      .catch(() => undefined)
    return answer?.rows[0]?.boot
  })
}

/** Ends the server in this way and starts it again, once every instance has noticed. */
async function restart(stage: Stage, how: Ending, awayMs: number): Promise<void> {
  const server = serverOf(stage)
  const { machines } = stage
  const before = await bootTime(stage)
  const lost = machines.living.map((one) => ({ one, times: one.of('database_lost').length }))
  await server.stop(how)
  const goneAt = performance.now()
  await until('every instance to have noticed', () =>
    lost.every(({ one, times }) => one.of('database_lost').length > times),
  )
  await until('the outage to last', () => performance.now() - goneAt >= awayMs)
  await server.start()
  if ((await bootTime(stage)) === before) throw new Error('the server has not been started again')
}

/** kill -9 of one backend of ours: the postmaster ends all the others and recovers. */
async function killBackend(stage: Stage): Promise<void> {
  const { pool } = stage
  const boot = await bootTime(stage)
  const backends = async (): Promise<number[]> =>
    (
      await pool.query<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tidemark:%' ORDER BY state = 'idle', pid`,
      )
    ).rows.map(({ pid }) => pid)
  const before = await backends()
  const [victim] = before
  if (victim === undefined) throw new Error('no instance is connected')
  process.kill(victim, 'SIGKILL')
  const after = await until('everybody to be back with other backends', async () => {
    const now = await backends().catch(() => [])
    return now.length > 0 && now.every((pid) => !before.includes(pid)) && now
  })
  if (after.length === 0 || (await bootTime(stage)) !== boot)
    throw new Error('the server did not recover under its postmaster')
}

const HOW: Readonly<Record<Ending, string>> = {
  fast: 'stopped fast',
  immediate: 'stopped at once (immediate)',
  kill: 'crashed (kill -9 of its postmaster)',
}

const restarts = (Object.keys(HOW) as Ending[]).map((how): Fault => ({
  name: `server_restarted_${how}`,
  isLong: true,
  mayLoseAnswers: true,
  title: `PostgreSQL is ${HOW[how]} while handlers are at work, is away for 1 to 4 s, and starts again`,
  ownServer: {},
  async happen(stage, random) {
    await handlersBegin(stage, HANDLER_MS)
    await restart(stage, how, random.between(0, AWAY_AT_MOST_MS))
  },
}))

/** Passes that each poller begins while something is held. */
const PASSES = 4

/** Waits until every poller has begun so many passes. */
async function passesBegin({ pool }: Stage, more: number): Promise<void> {
  const passes = async () =>
    new Map(
      (
        await pool.query<{ poller: string; pass: string }>(
          'SELECT poller, pass FROM service_ops.integration_poll_watermark',
        )
      ).rows.map(({ poller, pass }) => [poller, Number(pass)]),
    )
  const before = await until('the server to answer', () => passes().catch(() => undefined))
  await until(
    `${more} passes`,
    async () => {
      const now = await passes().catch(() => new Map<string, number>())
      return SOURCES.every((source) => (now.get(source) ?? 0) >= (before.get(source) ?? 0) + more)
    },
    60_000,
  )
}

const prepared: Fault = {
  name: 'prepared_across_restarts',
  isLong: true,
  mayLoseAnswers: true,
  title:
    'A transaction is prepared; PostgreSQL is stopped at once and started, then recovers from kill -9 of a backend; then it is committed',
  ownServer: {},
  async happen(stage) {
    const { pool, number } = stage
    const gid = `held over:${process.pid}`
    const client = await pool.connect()
    try {
      const inserts = SOURCES.map((source) => `INSERT INTO ${source} DEFAULT VALUES`).join('; ')
      await client.query(`BEGIN; ${inserts}; PREPARE TRANSACTION '${gid}'`)
    } finally {
      client.release()
    }
    const isHeld = () => number('SELECT count(*) AS n FROM pg_prepared_xacts WHERE gid = $1', [gid])
    await passesBegin(stage, PASSES)
    await handlersBegin(stage, HANDLER_MS)
    await restart(stage, 'immediate', 0)
    await passesBegin(stage, PASSES)
    await killBackend(stage)
    await passesBegin(stage, PASSES)
    if ((await isHeld()) !== 1) throw new Error('the prepared transaction did not outlive the restarts')
    await pool.query(`COMMIT PREPARED '${gid}'`)
  },
}

/** As often as an operator's script, or a proxy that goes mad. */
const EVERY_MS = 200
const TERMINATED = 30

/** A session of an instance, by what it is for. */
interface Kind {
  readonly what: string
  readonly where: string
}

const KINDS: readonly [Kind, ...Kind[]] = [
  {
    what: 'a sentinel',
    where: `EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory' AND l.granted)`,
  },
  { what: 'listening', where: `a.query ILIKE '%listen%'` },
  { what: 'in a transaction', where: `a.xact_start IS NOT NULL` },
  { what: 'idle', where: `a.state = 'idle'` },
  { what: 'of any kind', where: 'true' },
]

const terminated: Fault = {
  name: 'backends_terminated',
  inShortForm: true,
  mayLoseAnswers: true,
  title: `pg_terminate_backend of ${TERMINATED} sessions of the instances, 5 a second: of every kind, in turn by chance`,
  async happen(stage, random) {
    const { pool } = stage
    await handlersBegin(stage, HANDLER_MS)
    const beganAt = performance.now()
    for (let hit = 0; hit < TERMINATED; hit += 1) {
      await until('the next turn', () => performance.now() - beganAt >= hit * EVERY_MS)
      // Each kind once, so that none is left to chance; then by chance.
      const kind = KINDS[hit] ?? random.pick(KINDS)
      await until(`a session that is ${kind.what} to be terminated`, async () => {
        const { rows } = await pool.query<{ ended: boolean }>(
          `SELECT pg_terminate_backend(a.pid) AS ended FROM pg_stat_activity a
            WHERE a.datname = current_database() AND a.application_name LIKE 'tidemark:%' AND ${kind.where}
            ORDER BY md5(a.pid::text || $1::text) LIMIT 1`,
          [random.between(0, 1_000_000)],
        )
        return rows[0]?.ended
      })
    }
  },
}

export const SERVER_FAULTS: readonly Fault[] = [
  ...restarts,
  {
    name: 'backend_killed',
    inShortForm: true,
    mayLoseAnswers: true,
    title: 'kill -9 of one backend while handlers are at work: PostgreSQL ends all sessions and recovers',
    ownServer: {},
    async happen(stage) {
      await handlersBegin(stage, HANDLER_MS)
      await killBackend(stage)
    },
  },
  prepared,
  terminated,
]
