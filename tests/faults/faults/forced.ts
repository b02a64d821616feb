import { randomUUID } from 'node:crypto'
import { checkSource } from '../../../src/ingest/sourceCheck.ts'
import { runPass } from '../../../src/ingest/pass.ts'
import { releaseLease, takeOver } from '../../../src/tables/leader.ts'
import { until } from '../../support/until.ts'
import { SOURCES as POLLED } from '../config.ts'
import type { Fault } from '../fault.ts'
import type { Stage } from '../stage.ts'

const LEASE_MS = 10_000
const PAGE_SIZE = 7
const PASSES = 6

/** Waits until the one that was ousted under its feet has had a write refused. */
async function refusedMore({ machines }: Stage, before: number): Promise<void> {
  await until(
    'a write of the old leader to be refused',
    () => machines.count('stale_write_refused') > before,
    60_000,
  )
}

async function termOf({ number }: Stage, task: string): Promise<number> {
  return number('SELECT term AS n FROM service_ops.background_task_leader WHERE task_name = $1', [task])
}

/** Who leads the task, in the words of its row. */
async function leaderRow({ pool }: Stage, task: string): Promise<{ holder: string; term: string }> {
  const { rows } = await pool.query<{ holder: string; term: string }>(
    'SELECT holder, term FROM service_ops.background_task_leader WHERE task_name = $1',
    [task],
  )
  if (rows[0] === undefined) throw new Error(`nobody leads ${task}`)
  return rows[0]
}

export const FORCED: readonly Fault[] = [
  {
    name: 'two_leaders_read',
    inShortForm: true,
    title: 'A second leader reads the same pages while the first, which knows of nothing, still does',
    limits: { pageSize: PAGE_SIZE },
    async happen(stage, random) {
      const { machines, flows } = stage
      for (let i = 0; i < 3; i += 1) {
        const task = random.pick(POLLED)
        await machines.aLeader(task)
        const refused = machines.count('stale_write_refused')
        await readAsSecond(stage, task)
        await refusedMore(stage, refused)
        await flows(20)
      }
    },
  },
  {
    name: 'leaders_swapped',
    title: 'Leader and watermark rows are given to another instance under the feet of the one that leads',
    async happen(stage, random) {
      const { machines, flows } = stage
      for (let i = 0; i < 3; i += 1) {
        const task = random.pick(POLLED)
        const old = await machines.aLeader(task)
        const other = machines.living.find((one) => one !== old)
        const refused = machines.count('stale_write_refused')
        const term = await give(stage, task, other?.id)
        await refusedMore(stage, refused)
        // Whoever was given the lease leads only once it has seen so, and then under a term of its own.
        await until('a leader that knows it', async () => (await termOf(stage, task)) > term, 60_000)
        await flows(20)
      }
    },
  },
  {
    name: 'leader_is_nobody',
    title: 'The lease of a leader at work is given to a process that does not exist',
    isLong: true,
    async happen(stage, random) {
      const { machines, flows } = stage
      const task = random.pick(POLLED)
      await machines.aLeader(task)
      const refused = machines.count('stale_write_refused')
      await give(stage, task, undefined)
      await refusedMore(stage, refused)
      await machines.aLeader(task)
      await flows(20)
    },
  },
]

/** A takeover by the evidence that a stand-by would need, and passes of its own while the ousted one goes on. */
async function readAsSecond(stage: Stage, task: string): Promise<void> {
  const { pool, seed } = stage
  const me = { holder: randomUUID(), instanceId: `second-${seed}` }
  const { source, latenessMs } = await checkSource(pool, {
    table: task,
    id: 'id',
    createdAt: 'at',
    payload: 'payload',
    groupKey: null,
    traceId: null,
    where: null,
    timeZone: null,
    latenessMs: null,
  })
  const won = await takeOver(pool, task, me, LEASE_MS, await leaderRow(stage, task))
  if (won?.pass == null) throw new Error('the second leader was not let in')
  let { pass } = won
  for (let i = 0; i < PASSES; i += 1) {
    const { outcome } = await runPass({
      db: pool,
      source,
      fence: { poller: task, holder: me.holder, term: won.term, pass },
      slackMs: latenessMs,
      sinceMs: 60_000,
      pageSize: PAGE_SIZE,
      maxAttempts: 20,
      signal: new AbortController().signal,
      onBegun: (begun) => (pass = begun),
      onInserted: () => undefined,
      onRefusedRow: (reason) => {
        throw new Error(reason)
      },
      onRemade: () => undefined,
      onClockStepped: () => undefined,
    })
    if (outcome !== 'completed') throw new Error(`a pass of the second leader was ${outcome}`)
  }
  await releaseLease(pool, task, me, won.term)
}

/** As an operator with a superuser's rights might: the rows alone, and nobody is asked. Returns the term given. */
async function give({ pool }: Stage, task: string, instance: string | undefined): Promise<number> {
  const { rows } = await pool.query<{ term: string }>(
    `WITH t AS (UPDATE service_ops.leader_term SET term = term + 1 WHERE task_name = $1 RETURNING term),
          h AS (SELECT coalesce((SELECT i.holder FROM service_ops.runner_instance i WHERE i.instance_id = $2), gen_random_uuid()) AS holder),
          l AS (UPDATE service_ops.background_task_leader SET holder = h.holder, instance_id = coalesce($2, 'nobody'), term = t.term,
                       renewed_at = clock_timestamp(), expires_at = clock_timestamp() + interval '10 s'
                  FROM t, h WHERE task_name = $1)
     UPDATE service_ops.integration_poll_watermark SET holder = h.holder, term = t.term, pass = pass + 1, scan_ts = NULL
       FROM t, h WHERE poller = $1
     RETURNING integration_poll_watermark.term`,
    [task, instance ?? null],
  )
  if (rows[0] === undefined) throw new Error(`the lease of ${task} could not be given away`)
  return Number(rows[0].term)
}
