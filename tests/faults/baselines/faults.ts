import { until } from '../../support/until.ts'
import type { Fault } from '../fault.ts'
import { DEPLOYS } from '../faults/deploys.ts'
import type { Stage } from '../stage.ts'

/** Longer than a lease, and than the waits of most tools until a heartbeat counts as missed. */
const FROZEN_MS = 12_000
const ENDED = 30
const EVERY_MS = 200

/** Tells the sessions of whatever program is on the stage from those of the writers and of the run itself. */
const OF_THE_PROGRAM = `datname = current_database() AND application_name ~ '^(tidemark|naive|stock):'`

/** What the three programs are compared by: nothing here knows of anybody's tables. */
export const COMPARED: readonly Fault[] = [
  {
    name: 'steady',
    title: 'No fault at all: writers whose transactions overlap, commit late, are prepared or rolled back',
    happen: ({ flows }) => flows(200),
  },
  {
    name: 'long_transactions',
    title: 'No fault at all: most transactions of the writers take up to 3 s',
    habits: { weights: { long: 150 }, longMs: 3_000 },
    happen: ({ flows }) => flows(100),
  },
  ...DEPLOYS,
  {
    name: 'killed_at_work',
    title: 'kill -9 of a leader at work, twice; a fresh instance each time',
    mayRunAgain: 'a handler had ended when its process was killed, and its outcome was not written yet',
    mayBurn: 'a handler was at work when its process was killed',
    async happen({ machines, flows }, random) {
      for (let kill = 0; kill < 2; kill += 1) {
        await flows(random.between(3, 10))
        await machines.crash(await machines.aLeader('orders'))
        await machines.start()
      }
      await flows(20)
    },
  },
  {
    name: 'frozen_12_s',
    title: `A leader at work stands still for ${FROZEN_MS / 1000} s, then goes on`,
    isLong: true,
    mayRunAgain: 'an external handler was at work when its instance was judged frozen',
    async happen({ machines, flows }) {
      await flows(5)
      const leader = await machines.aLeader('orders')
      const at = leader.kill('SIGSTOP')
      await until('the sleep to be over', () => Date.now() - at > FROZEN_MS)
      leader.kill('SIGCONT')
      await flows(20)
    },
  },
  {
    name: 'sessions_ended',
    title: `${ENDED} times, five a second, a session of any kind is ended by the server`,
    mayRunAgain: 'an external handler has ended and the session that writes its outcome was ended',
    async happen(stage, random) {
      let at = 0
      for (let ended = 0; ended < ENDED;) {
        await until('the next moment', () => performance.now() - at > EVERY_MS)
        at = performance.now()
        if (await endASession(stage, random.next())) ended += 1
      }
      await stage.flows(20)
    },
  },
  {
    name: 'server_restarted',
    title: 'PostgreSQL is restarted (fast) while work is under way',
    ownServer: {},
    mayRunAgain: 'an external handler has ended and its outcome could not be written before the restart',
    async happen({ server, pool, flows }) {
      if (server === undefined) throw new Error('the run has no server of its own')
      const boot = async () =>
        (await pool.query<{ at: string }>('SELECT pg_postmaster_start_time()::text AS at')).rows[0]?.at
      const before = await boot()
      await flows(5)
      await server.stop('fast')
      await server.start()
      if ((await until('the server', () => boot().catch(() => undefined))) === before)
        throw new Error('the server was not restarted')
      await flows(20)
    },
  },
]

async function endASession({ pool }: Stage, which: number): Promise<boolean> {
  const { rows } = await pool.query(
    `SELECT pg_terminate_backend(a.pid) FROM (
       SELECT pid, row_number() OVER (ORDER BY pid) - 1 AS i, count(*) OVER () AS n FROM pg_stat_activity WHERE ${OF_THE_PROGRAM}) a
      WHERE a.i = floor($1::double precision * a.n)`,
    [which],
  )
  return rows.length === 1
}
