import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPoller } from '../../src/ingest/poller.ts'
import type { DuePass } from '../../src/ingest/tick.ts'
import { readTail } from '../../src/tables/tail.ts'
import { recordedLog } from '../db/recordedLog.ts'
import type { Scope } from '../support/scope.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'
import type { Intake } from './fixture.ts'

const NOTES = `CREATE TABLE note (id bigint PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT clock_timestamp())`

/** Rows whose times lie no further back are still above the edge. */
const SLACK_MS = 60_000

async function world(t: Scope) {
  const intake = await createIntake(t, NOTES)
  const source = await intake.prepare(sourceOf('note'))
  let fence = await intake.lead()
  return {
    intake,
    source,
    fence: () => fence,
    pass: async () => {
      const passed = await intake.pass(source, fence, { slackMs: SLACK_MS })
      fence = passed.fence
      return passed
    },
    /** Ids that a tail has taken in. */
    tail: async (as = fence): Promise<string[]> => {
      const before = await ids(intake)
      await readTail(intake.program, source.tail, as, 3)
      return (await ids(intake)).filter((id) => !before.includes(id))
    },
    add: (id: number, at = 'clock_timestamp()') =>
      intake.pool.query(`INSERT INTO note VALUES (${id}, ${at})`),
  }
}

const ids = async (intake: Intake): Promise<string[]> =>
  (await intake.inbox()).map(({ message_id: id }) => id)

const WATERMARK = `SELECT edge, proven, scan_ts, scan_id, pass FROM service_ops.integration_poll_watermark`

test('a tail takes in what lies behind the greatest cursor, and proves nothing', async (t) => {
  const { intake, pass, tail, add } = await world(t)
  await add(1, "now() - interval '1 minute'")
  await pass()
  await pass()
  const before = await intake.pool.query(WATERMARK)
  await add(2)
  await add(3)
  assert.deepEqual(await tail(), ['2', '3'])
  assert.deepEqual(await tail(), [])
  assert.deepEqual((await intake.pool.query(WATERMARK)).rows, before.rows)
  const { rows } = await intake.pool.query(
    'SELECT last_message_id, rows_total::int FROM service_ops.integration_poll_watermark',
  )
  assert.deepEqual(rows, [{ last_message_id: '3', rows_total: 3 }])
  await add(4, "now() - interval '30 s'")
  assert.deepEqual(await tail(), [], 'what lies before the cursor is for the pass')
  assert.equal((await pass()).rowsInserted, 1)
})

test('a tail of a former leader, or of a former pass, takes nothing in', async (t) => {
  const { intake, fence, pass, tail, add } = await world(t)
  const former = fence()
  await pass()
  await add(1)
  assert.deepEqual(await tail(former), [])
  await intake.lead()
  assert.deepEqual(await tail(), [])
})

test('a tail takes nothing in from below the edge, or what may be forgotten, or of a source with an order', async (t) => {
  const { intake, fence, pass, tail, add } = await world(t)
  await pass()
  await add(1)
  const edge = (sql: string) =>
    intake.pool.query(`UPDATE service_ops.integration_poll_watermark SET edge = ${sql}`)
  await edge("now() + interval '1 s'")
  assert.deepEqual(await tail(), [])
  await edge("now() - interval '1 hour'")
  await intake.pool.query(`UPDATE service_ops.background_task SET forgotten_before = now() + interval '1 s'`)
  assert.deepEqual(await tail(), [])
  await intake.pool.query(`UPDATE service_ops.background_task SET forgotten_before = NULL`)
  const order = `INSERT INTO service_ops.slot_limit (source, group_key, ordered) VALUES ('${POLLER}', '*', true)
                 ON CONFLICT (source, group_key) DO UPDATE SET ordered = true`
  await intake.pool.query(order)
  assert.deepEqual(await tail(), [], 'one that is behind the cursor may have to come first')
  await intake.pool.query('UPDATE service_ops.slot_limit SET ordered = false')
  assert.deepEqual(await tail(fence()), ['1'])
})

test('a row from the future does not pin the tail', async (t) => {
  const { pass, tail, add } = await world(t)
  await add(1, "'2099-01-01'")
  await pass()
  await add(2)
  assert.deepEqual(await tail(), ['2'])
})

test('a tail begins where the passes of its poller did', async (t) => {
  const { intake, tail, add } = await world(t)
  await intake.pool.query(
    `UPDATE service_ops.integration_poll_watermark SET edge = now() - interval '1 hour'`,
  )
  await add(1, "now() - interval '2 hours'")
  await add(2, "now() - interval '1 minute'")
  assert.deepEqual(await tail(), ['2'])
})

test('what a tail took in is on disk before anybody can claim it', async (t) => {
  const { intake, tail, add } = await world(t)
  // As late as can be seen: constraint triggers that are deferred run when the transaction commits.
  await intake.pool.query(`
    CREATE TABLE seen (id text, synchronous_commit text);
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO seen VALUES (NEW.message_id, current_setting('synchronous_commit')); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON service_ops.integration_inbox
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see()`)
  await add(1)
  await tail()
  const { rows } = await intake.pool.query('SELECT * FROM seen')
  assert.deepEqual(rows, [{ id: '1', synchronous_commit: 'on' }])
})

test('a tail that fails is left to its pass, and what tails took in is counted with the pass', async (t) => {
  const { intake, source, fence, add } = await world(t)
  const recorded = recordedLog()
  const told: number[] = []
  let isBroken = true
  const due = (isTail: boolean): DuePass => ({
    dueAt: new Date(),
    cause: 'wake',
    isTail,
    done: ({ ok, inserted }) => {
      assert.ok(ok)
      told.push(inserted ?? 0)
      return Promise.resolve()
    },
  })
  const steps: (() => Promise<DuePass | undefined>)[] = [
    () => Promise.resolve(due(false)),
    async () => {
      await add(1)
      return due(true)
    },
    () => {
      isBroken = false
      return Promise.resolve(due(true))
    },
    () => Promise.resolve(due(false)),
  ]
  let announced = 0
  const poller = createPoller({
    db: {
      query: (text, values) =>
        isBroken && text === source.tail.text
          ? Promise.reject(new Error('timeout exceeded when trying to connect'))
          : intake.pool.query(text, values === undefined ? undefined : [...values]),
    },
    name: POLLER,
    everyMs: 60_000,
    pageSize: 10,
    maxAttempts: 1,
    instanceId: 'me',
    onInserted: (rows) => (announced += rows),
    source,
    tick: { next: () => steps.shift()?.() ?? Promise.resolve(undefined) },
    slackMs: 0,
    log: { ...recorded, child: () => assert.fail(), close: () => Promise.resolve() },
  })
  const lease = { createdEdge: null, signal: new AbortController().signal, refused: () => assert.fail() }
  await poller.lead({ ...fence(), ...lease })
  assert.deepEqual(told, [0, 0, 1, 0])
  assert.equal(announced, 1)
  const { rows } = await intake.pool.query(
    'SELECT outcome, rows_inserted::int FROM service_ops.poll_run ORDER BY run_id',
  )
  assert.deepEqual(rows, [{ outcome: 'ran', rows_inserted: 1 }])
  assert.equal(recorded.of('poll_failed').length, 0)
})
