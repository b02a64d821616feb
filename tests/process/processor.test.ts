import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { Client } from 'pg'
import { watchPressure } from '../../src/db/pressure.ts'
import { skipBefore } from '../support/postgres.ts'
import { until } from '../support/until.ts'
import { executeTransactional } from '../../src/process/execute.ts'
import { Stop } from '../../src/process/stop.ts'
import { recordedLog } from '../db/recordedLog.ts'
import { hang, inbox, INSTANCE, processorOn, programPool, SOURCE } from './fixture.ts'
import type { Work } from './fixture.ts'
import { wire } from './wire.ts'

const EXTERNAL: Work = { kind: 'external', handle: () => undefined }

/** A claim that has begun and waits for a lock that the test holds. */
const CLAIM_WAITS = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
  AND query LIKE '%$3 messages at most%'`

describe('a claim under way', () => {
  test('when a drain begins is given back as it came, and the drain waits for that', async (t) => {
    const { url, sql, send, fates } = await inbox(t)
    const handled: string[] = []
    const handle = ({ messageId }: { messageId: string }) => void handled.push(messageId)
    const processor = processorOn(t, programPool(t, url), { kind: 'external', handle })
    await send('a', 'b')
    const lock = await sql.connect()
    await lock.query('BEGIN; LOCK TABLE service_ops.integration_inbox IN SHARE MODE')
    processor.start()
    await until('the claim to wait', async () => (await sql.query(CLAIM_WAITS)).rowCount === 1)

    processor.stopClaiming()
    const drained = processor.drain(20_000)
    await lock.query('COMMIT')
    lock.release()
    await drained
    assert.deepEqual(handled, [])
    assert.deepEqual(await fates(), { a: 'NEW 0 +1', b: 'NEW 0 +1' })
  })

  test('when an exclusive lease is lost is given back, and nothing of it runs', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    const handled: string[] = []
    const handle = ({ messageId }: { messageId: string }) => void handled.push(messageId)
    const processor = processorOn(t, programPool(t, url), { kind: 'external', handle }, { exclusive: true })
    await send('a')
    const lease = new AbortController()
    const lock = await sql.connect()
    // Looking for work of others is reading, which this lock allows; claiming is not.
    await lock.query('BEGIN; LOCK TABLE service_ops.integration_inbox IN SHARE MODE')
    const led = processor.lead({ signal: lease.signal })
    await until('the claim to wait', async () => (await sql.query(CLAIM_WAITS)).rowCount === 1)
    lease.abort()
    await lock.query('COMMIT')
    lock.release()
    await led
    await become({ a: 'NEW 0 +1' })
    assert.deepEqual(handled, [])
  })

  test('whose answer is lost is found again and given back by the instance itself', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    const way = await wire(t, url)
    const handled: string[] = []
    const handle = ({ messageId }: { messageId: string }) => void handled.push(messageId)
    const processor = processorOn(t, programPool(t, way.url), { kind: 'external', handle })
    await send('a')
    const lock = await sql.connect()
    await lock.query('BEGIN; LOCK TABLE service_ops.integration_inbox IN SHARE MODE')
    processor.start()
    await until('the claim to wait', async () => (await sql.query(CLAIM_WAITS)).rowCount === 1)
    way.loseAnswers()
    await lock.query('COMMIT')
    lock.release()
    await become({ a: 'PROCESSING 1' })
    way.cut()
    await become({ a: 'DONE 1 +1' })
    assert.deepEqual(handled, ['a'])
  })
})

describe('a lost database', () => {
  test('neither repeats what is done nor burns an attempt: outcomes wait until it is back', async (t) => {
    const { url, send, become, fates } = await inbox(t)
    const way = await wire(t, url)
    const runs: string[] = []
    const gate = Promise.withResolvers<undefined>()
    const processor = processorOn(t, programPool(t, way.url), {
      kind: 'external',
      async handle({ messageId }) {
        runs.push(messageId)
        await gate.promise
        if (messageId === 'fails') throw new Error('no')
      },
    })
    await send('a', 'b', 'fails')
    processor.start()
    await until('all to run', () => runs.length === 3)
    way.down()
    gate.resolve(undefined)
    await until('the outcomes to be kept', () => processor.log.of('outcome_deferred').length > 0)
    assert.equal(processor.state.pendingOutcomes, 3)
    assert.deepEqual(await fates(), { a: 'PROCESSING 1', b: 'PROCESSING 1', fails: 'PROCESSING 1' })
    way.restore()
    await become({ a: 'DONE 1', b: 'DONE 1', fails: 'DEAD 3' })
    assert.deepEqual(runs, ['a', 'b', 'fails', 'fails', 'fails'])
  })

  const unnoticed = skipBefore(14, 'the server does not notice the cut before the COMMIT is over')
  test(
    'cut off during COMMIT costs no attempt, and the message takes effect once',
    { skip: unnoticed },
    async (t) => {
      const { url, sql, send, become, effects } = await inbox(t)
      // The first COMMIT of each message waits, long enough to be cut off.
      await sql.query(`
      CREATE SEQUENCE commits;
      CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF nextval('commits') = 1 THEN PERFORM pg_sleep(60); END IF; RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON effect DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slowly()`)
      const way = await wire(t, url)
      const processor = processorOn(t, programPool(t, way.url, 90_000), {
        kind: 'transactional',
        async handle({ messageId }, { tx }) {
          await tx.query('INSERT INTO effect VALUES ($1)', [messageId])
        },
      })
      await send('a')
      processor.start()
      const committing = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND query = 'COMMIT' AND wait_event = 'PgSleep'`
      await until('COMMIT to hang', async () => (await sql.query(committing)).rowCount === 1)
      way.cut()
      await become({ a: 'DONE 1 +1' })
      assert.deepEqual(await effects(), ['a'])
      assert.deepEqual(processor.log.of('message_failed'), [])
    },
  )
})

describe('an outcome', () => {
  test("of a claim that is somebody else's by now is not written", async (t) => {
    const { url, sql, send, become, effects, fates } = await inbox(t)
    const go = Promise.withResolvers<undefined>()
    const pool = programPool(t, url)
    const slow = processorOn(t, pool, { kind: 'external', handle: () => go.promise })
    await send('a')
    slow.start()
    await become({ a: 'PROCESSING 1' })
    slow.stopClaiming()
    // Taken for dead, and claimed by another.
    await sql.query(
      `UPDATE service_ops.integration_inbox SET locked_by = 'other', claim = claim + 1, attempts = 2`,
    )
    go.resolve(undefined)
    await slow.drain(10_000)
    assert.deepEqual(await fates(), { a: 'PROCESSING 2' })
    assert.deepEqual(await effects(), [])
    assert.deepEqual(
      slow.log.of('message_interrupted').map(({ reason }) => reason),
      ['claimed elsewhere'],
    )
    assert.deepEqual([slow.state.finished, slow.state.inWork], [0, 0])
  })

  test('of a transactional handler comes first, so a claim that is gone ends it before it runs', async (t) => {
    const { url, sql, send, fates } = await inbox(t)
    await send('a')
    await sql.query(
      `UPDATE service_ops.integration_inbox SET status = 'PROCESSING', locked_by = 'other', claim = 2, attempts = 2`,
    )
    const message = { inboxId: '1', source: SOURCE, messageId: 'a', payload: {}, groupKey: null, attempts: 1 }
    const rest = { maxAttempts: 3, traceId: 'a', sourceCreatedAt: null }
    const log = { ...recordedLog(), child: () => log, close: () => Promise.resolve() }
    const runs: string[] = []
    const pool = programPool(t, url)
    const pressure = watchPressure(pool, log)
    t.after(() => pressure.stop())
    const result = await executeTransactional(
      { pool, pressure, instanceId: INSTANCE, task: 'reader', timeoutMs: 30_000, log },
      ({ messageId }) => void runs.push(messageId),
      {
        claim: { inboxId: '1', claim: 1 },
        message: { ...message, ...rest },
        ahead: false,
        interruptionsInARow: 0,
        ageMs: 0,
        claimedAt: 0,
      },
      new Stop(),
    )
    assert.deepEqual(result, { kind: 'not ours' })
    assert.deepEqual([runs, await fates()], [[], { a: 'PROCESSING 2' }])
  })
})

describe('a new exclusive leader', () => {
  test('claims nothing while another instance still has messages of its sources in work', async (t) => {
    const { url, sql, send, become, fates } = await inbox(t)
    const pool = programPool(t, url)
    const other = processorOn(
      t,
      pool,
      { kind: 'external', handle: hang },
      { concurrency: 1 },
      'other-instance',
    )
    await send('held')
    other.start()
    await become({ held: 'PROCESSING 1' })
    other.stopClaiming()
    await send('fresh')
    const mine = processorOn(t, pool, EXTERNAL, { exclusive: true })
    const lease = new AbortController()
    t.after(() => lease.abort())
    void mine.lead({ signal: lease.signal })
    await sql.query('SELECT pg_sleep(0.6)') // longer than it waits between two looks
    assert.deepEqual(await fates(), { held: 'PROCESSING 1', fresh: 'NEW 0' })
    await other.drain(0)
    await become({ held: 'DONE 1 +1', fresh: 'DONE 1' })
  })

  test('sees what another has below the mark from which it would claim itself', async (t) => {
    const { url, sql, send, become, fates } = await inbox(t)
    const mine = processorOn(t, programPool(t, url), EXTERNAL, { exclusive: true })
    const first = new AbortController()
    const second = new AbortController()
    for (const lease of [first, second]) t.after(() => lease.abort())
    // Its number is drawn first and seen last: claims have passed it by then, nothing has been proven about it.
    const writer = await connected(t, url)
    await writer.query(
      `BEGIN; INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id, status, locked_by, claim, attempts)
       VALUES ('${SOURCE}', 'held', '{}', 'held', 'PROCESSING', 'other-instance', 1, 1)`,
    )
    await send('a')
    const led = mine.lead({ signal: first.signal })
    await become({ a: 'DONE 1' })
    first.abort()
    await led
    await writer.query('COMMIT')
    await send('fresh')
    void mine.lead({ signal: second.signal })
    await sql.query('SELECT pg_sleep(0.6)') // longer than it waits between two looks
    assert.deepEqual(await fates(), { held: 'PROCESSING 1', a: 'DONE 1', fresh: 'NEW 0' })
    await sql.query(
      `UPDATE service_ops.integration_inbox SET status = 'DONE', processed_at = now(), locked_by = NULL WHERE message_id = 'held'`,
    )
    await become({ fresh: 'DONE 1' })
  })
})

/** A connection whose transaction stays open; closed before the database is dropped. */
async function connected(t: TestContext, url: string): Promise<Client> {
  const client = new Client({ connectionString: url })
  await client.connect()
  t.after(() => client.end())
  return client
}
