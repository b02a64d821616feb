import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPoller } from '../../src/ingest/poller.ts'
import type { PollerOptions } from '../../src/ingest/poller.ts'
import { recordingLog } from '../process/fixture.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'

/* A paused poller leads on and makes no pass. */

const PAUSED = 'paused by ann'

async function world(scope: Scope) {
  const intake = await createIntake(scope, 'CREATE TABLE s (id bigint, created_at timestamptz DEFAULT now())')
  const source = await intake.prepare(sourceOf('s'))
  const fence = await intake.lead()
  const over = new AbortController()
  scope.after(() => over.abort())
  const refused: string[] = []
  const ends: boolean[] = []
  const { log, recorded } = recordingLog()
  const lead = (options: Pick<PollerOptions, 'held'> & Partial<PollerOptions>) => {
    const poller = createPoller({
      db: intake.program,
      name: POLLER,
      source,
      slackMs: 0,
      everyMs: 1_000,
      pageSize: 10,
      maxAttempts: 1,
      instanceId: 'me',
      log,
      onInserted: () => undefined,
      // One pass due after the other, each on a turn of its own.
      tick: {
        next: async (signal) => {
          await new Promise((turn) => setTimeout(turn, 1))
          const done = ({ ok }: { ok: boolean }): Promise<void> => Promise.resolve(void ends.push(ok))
          return signal.aborted ? undefined : { dueAt: new Date(), cause: 'loop', done }
        },
      },
      ...options,
    })
    const { holder, term, pass } = fence
    const led = poller.lead({
      ...{ holder, term, pass, createdEdge: null, signal: over.signal },
      refused: (what) => void refused.push(what),
    })
    return { poller, led }
  }
  const runs = async (): Promise<string[]> => {
    const { rows } = await intake.pool.query<{ run: string }>(
      `SELECT concat_ws(' ', outcome, rows_inserted, error) AS run FROM service_ops.poll_run ORDER BY run_id`,
    )
    return rows.map(({ run }) => run)
  }
  return { intake, over, refused, ends, recorded, lead, runs }
}

test('what falls due ends without a pass, the ledger says so once, and the first pass after it takes everything in', async (t) => {
  const { intake, over, refused, ends, lead, runs } = await world(t)
  await intake.pool.query('INSERT INTO s SELECT generate_series(1, 25)')
  let isPaused = true
  const { poller, led } = lead({ held: () => (isPaused ? PAUSED : undefined) })
  await until('passes to fall due', () => ends.length >= 5)
  assert.deepEqual(await runs(), [`missed 0 ${PAUSED}`])
  assert.deepEqual(
    [ends.every((ok) => ok), await intake.inbox(), poller.state.lastPassAt],
    [true, [], undefined],
  )
  isPaused = false
  await until('a pass', async () => (await intake.inbox()).length === 25)
  isPaused = true
  await until('the next pause in the ledger', async () => (await runs()).at(-1) === `missed 0 ${PAUSED}`)
  // The ledger is written before the poller goes on from it.
  await until(
    'it to be as if it had made none, since one that is held has not stalled',
    () => poller.state.lastPassAt === undefined,
  )
  over.abort()
  await led
  const made = (await runs()).filter((run) => !run.startsWith('missed'))
  assert.deepEqual([made[0], refused], ['ran 25', []])
  assert.equal((await runs()).length, made.length + 2)
})

test('a pause in the middle of a pass ends it with its page, and the rest follows at the resume', async (t) => {
  const { intake, over, recorded, lead, runs } = await world(t)
  await intake.pool.query('INSERT INTO s SELECT generate_series(1, 25)')
  let isPaused = false
  const { poller, led } = lead({
    held: () => (isPaused ? PAUSED : undefined),
    onInserted() {
      if (isPaused) return
      isPaused = true
      poller.hold()
    },
  })
  await until('the ledger', async () => (await runs()).length === 1)
  assert.deepEqual(await runs(), [`missed 10 ${PAUSED}`])
  assert.equal((await intake.inbox()).length, 10)
  isPaused = false
  await until('the next page', async () => (await intake.inbox()).length === 20)
  isPaused = false
  await until('the last', async () => (await intake.inbox()).length === 25)
  over.abort()
  await led
  assert.deepEqual(recorded.of('poll_failed'), [])
})
