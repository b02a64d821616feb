/**
 * Faults that are aimed at one safeguard each: without it, they go red. The mutants of the suite (mutants.ts) take the
 * safeguards out, one at a time.
 */
import { randomUUID } from 'node:crypto'
import type { Pool } from 'pg'
import { announceInserted, giveBack } from '../../../src/tables/inbox.ts'
import type { Instance } from '../../support/instance.ts'
import { until } from '../../support/until.ts'
import type { Fault } from '../fault.ts'
import { noted } from '../stage.ts'
import type { Stage } from '../stage.ts'

/** Older than the slack of 5 s by which an edge stays behind what is proven. */
const LATE_AFTER_MS = 6_000
/** Passes since then: enough to prove the time of the row, were its transaction not alive. */
const LATE_PASSES = 3

/** So small that a pass over the slack's rows takes a hundred statements, and most moments are between two of them. */
const SMALL_PAGE = 1

/** Half of it is enough to be claimed again; the whole is shorter than the 5 s after which owners look at their claims. */
const OVERLAPPING_MS = 4_000

/** Longer than a drain of 1 s and the exit after it, so that no handler ends by itself in between. */
const OUTLASTING_MS = 6_000
const OUTLASTING_ROWS = 12

export const AIMED: readonly Fault[] = [
  {
    name: 'late_commit',
    inShortForm: true,
    title: 'A prepared transaction commits its rows long after later ones were taken in and passes went by',
    async happen({ pool, number, effects, flows }) {
      // What is prepared has no session that would tell how old it is: that it is alive must be known.
      const gid = `late_commit:${randomUUID()}`
      const at = (await pool.query<{ at: string }>('SELECT clock_timestamp()::text AS at')).rows[0]?.at
      await pool.query(
        `BEGIN; INSERT INTO orders SELECT FROM generate_series(1, 5); INSERT INTO calls DEFAULT VALUES; PREPARE TRANSACTION '${gid}'`,
      )
      const before = await effects()
      await until(
        'passes to go by',
        async () =>
          (await number(
            `SELECT count(*) AS n FROM service_ops.poll_run WHERE poller = 'orders' AND started_at > $1::timestamptz + $2::interval`,
            [at, `${LATE_AFTER_MS} ms`],
          )) >= LATE_PASSES,
        60_000,
      )
      if ((await effects()) <= before) throw new Error('no later row was taken in meanwhile')
      await pool.query(`COMMIT PREPARED '${gid}'`)
      await flows(20)
    },
  },
  {
    name: 'frozen_in_mid_pass',
    inShortForm: true,
    title: 'A leader freezes between two pages and loses its sentinel; it wakes when another one leads',
    limits: { pageSize: SMALL_PAGE },
    async happen({ machines, pool, flows }, random) {
      const task = random.pick(['orders', 'calls', 'tally'])
      const old = await machines.aLeader(task)
      await freezeInMidPass(pool, old, task)
      const { rowCount } = await pool.query(
        `SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN service_ops.runner_instance i
            ON (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('tidemark:sentinel:' || i.holder, 0)
          WHERE l.locktype = 'advisory' AND i.instance_id = $1`,
        [old.id],
      )
      if (rowCount !== 1) throw new Error(`the leader held ${String(rowCount)} sentinels`)
      await until('another leader', async () => {
        const leader = await machines.leader(task)
        return leader !== undefined && leader.id !== old.id
      })
      old.kill('SIGCONT')
      await old.said('task_standby', { task })
      await flows(20)
    },
  },
  {
    name: 'claimed_again_beside_itself',
    title: 'A claim is given back while its handler runs, and the same instance claims the message again',
    mayRunAgain: 'the claim was given back while the handler was at work',
    instances: 1,
    async happen({ machines, pool, notes }) {
      const [one] = machines.living
      if (one === undefined) throw new Error('no instance lives')
      const { rows } = await pool.query<{ id: string }>(
        'INSERT INTO calls (payload) VALUES ($1) RETURNING id',
        [{ behave: 'slow', ms: OVERLAPPING_MS }],
      )
      const id = rows[0]?.id
      const noticed = (kind: 'began' | 'ended') =>
        noted(notes).filter((note) => note.messageId === id && note.source === 'calls' && note.kind === kind)
      // Half of its time is over, so that the two runs end well apart.
      await until('its handler to be at work', () => {
        const [began] = noticed('began')
        return began !== undefined && Date.now() - began.at > OVERLAPPING_MS / 2
      })
      const claim = await pool.query<{ inbox_id: string; claim: number }>(
        `SELECT inbox_id, claim FROM service_ops.integration_inbox WHERE source = 'calls' AND message_id = $1`,
        [id],
      )
      await giveBack(
        pool,
        one.id,
        claim.rows.map((row) => ({ inboxId: row.inbox_id, claim: row.claim, waitMs: 0, counts: false })),
      )
      await announceInserted(pool, 'calls')
      await until('both handlers to end', () => noticed('ended').length === 2)
      const [, second] = noticed('began')
      const [first] = noticed('ended')
      if (second === undefined || first === undefined || second.at > first.at)
        throw new Error('the second handler began only when the first one had ended')
    },
  },
  {
    name: 'drain_cut_short',
    title: 'SIGTERM to an instance whose handlers outlast the drain; a fresh one starts when it is gone',
    env: { DRAIN_TIMEOUT_SECONDS: '1' },
    async happen(stage, random) {
      const { machines, pool, flows } = stage
      await pool.query(
        `WITH o AS (INSERT INTO orders (payload) SELECT $1 FROM generate_series(1, $2))
         INSERT INTO calls (payload) SELECT $1 FROM generate_series(1, $2)`,
        [{ behave: 'slow', ms: OUTLASTING_MS }, OUTLASTING_ROWS],
      )
      const victim = await until('an instance to have them at work', async () => {
        const one = random.pick(machines.living)
        return one !== undefined && (await slowAtWork(stage, one)).length > 1 && one
      })
      const atWork = await slowAtWork(stage, victim)
      await machines.stop(victim)
      const { rows } = await pool.query(
        `SELECT FROM service_ops.integration_inbox WHERE inbox_id = ANY ($1) AND status <> 'DONE'`,
        [atWork],
      )
      if (rows.length === 0) throw new Error('every handler had ended before the drain was over')
      await machines.start({ release: 'green' })
      await flows(20)
    },
  },
  {
    name: 'leader_killed',
    inShortForm: true,
    title: 'kill -9 of a leader, once, with nobody started in its place',
    mayRunAgain: 'a handler had ended when its process was killed, and its outcome was not written yet',
    mayBurn: 'a handler was at work when its process was killed',
    async happen({ machines }, random) {
      const task = random.pick(['orders', 'calls', 'tally'])
      const old = await machines.aLeader(task)
      await machines.crash(old)
      await machines.aLeader(task)
    },
  },
]

/** Stops the leader's process while its pass has pages left and no statement of it runs. */
async function freezeInMidPass(pool: Pool, leader: Instance, task: string): Promise<void> {
  const isBetweenPages = async (): Promise<boolean> => {
    const { rows } = await pool.query(
      'SELECT FROM service_ops.integration_poll_watermark WHERE poller = $1 AND scan_ts IS NOT NULL',
      [task],
    )
    return rows.length === 1
  }
  await until('a pass to be between two pages', async () => {
    if (!(await isBetweenPages())) return false
    leader.kill('SIGSTOP')
    await until('its statements to end', async () => {
      const { rows } = await pool.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1 AND state = 'active'`,
        [`tidemark:${leader.id}`],
      )
      return rows.length === 0
    })
    if (await isBetweenPages()) return true
    leader.kill('SIGCONT')
    return false
  })
}

/** Messages with slow handlers that an instance has in work. */
async function slowAtWork({ pool }: Stage, one: Instance): Promise<string[]> {
  const { rows } = await pool.query<{ inbox_id: string }>(
    `SELECT i.inbox_id FROM service_ops.integration_inbox i
      WHERE i.status = 'PROCESSING' AND i.locked_by = $1 AND i.payload ->> 'behave' = 'slow'`,
    [one.id],
  )
  return rows.map((row) => row.inbox_id)
}
