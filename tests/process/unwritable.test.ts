import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { reclaimFrom } from '../../src/process/reclaim.ts'
import { claimMessages, giveBackStrays } from '../../src/tables/inbox.ts'
import { grants, plainRole } from '../support/plainRole.ts'
import { until } from '../support/until.ts'
import { hang, inbox, INSTANCE, processorOn, programPool, recordingLog, SOURCE } from './fixture.ts'

/** `hangs` never ends, `bad` and what begins with it fails, the others are done. */
const work = {
  kind: 'external',
  handle: ({ messageId }: { messageId: string }): Promise<void> => {
    if (messageId.startsWith('bad')) return Promise.reject(new RangeError('no'))
    return messageId === 'hangs' ? hang() : Promise.resolve()
  },
} as const

/** What PostgreSQL is told to refuse, and to take again. */
const REFUSALS = {
  'one failure for what it is': [
    `ALTER TABLE service_ops.integration_inbox ADD CONSTRAINT refusal CHECK (message_id <> 'bad' OR status <> 'FAILED')`,
    'ALTER TABLE service_ops.integration_inbox DROP CONSTRAINT refusal',
  ],
  'every failure': [
    `CREATE FUNCTION refusal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
     CREATE TRIGGER refusal BEFORE UPDATE ON service_ops.integration_inbox FOR EACH ROW WHEN (NEW.status = 'FAILED') EXECUTE FUNCTION refusal()`,
    'DROP TRIGGER refusal ON service_ops.integration_inbox',
  ],
} as const

describe('where message_attempt is gone,', () => {
  test('messages fail, are done and are given back by a drain all the same, and their story is told again once it is back', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    const processor = processorOn(t, programPool(t, url), work)
    await sql.query('ALTER TABLE service_ops.message_attempt RENAME TO hidden')
    await send('hangs', 'bad', 'good')
    processor.start()
    await become({ hangs: 'PROCESSING 1', bad: 'DEAD 3', good: 'DONE 1' })
    await processor.drain(0)
    await become({ hangs: 'NEW 0 +1' })
    assert.deepEqual(processor.log.of('outcome_deferred'), [])
    await sql.query('ALTER TABLE service_ops.hidden RENAME TO message_attempt')
    await send('bad again')
    const after = processorOn(t, programPool(t, url), work, { maxAttempts: 1 })
    after.start()
    await become({ 'bad again': 'DEAD 1' })
    const { rows } = await sql.query('SELECT outcome FROM service_ops.message_attempt')
    assert.deepEqual(rows, [{ outcome: 'dead' }])
  })

  test('what a dead instance had is taken back, and what was claimed without knowing it', async (t) => {
    const { url, sql, send, fates } = await inbox(t)
    const pool = programPool(t, url)
    const claim = (instanceId: string) =>
      claimMessages(pool, {
        sources: [SOURCE],
        instanceId,
        limit: 1,
        low: '0',
        maxAttempts: 3,
        maxBytes: 1e6,
      })
    await send('a', 'b')
    await claim('gone')
    await claim(INSTANCE)
    await sql.query('DROP TABLE service_ops.message_attempt')
    assert.equal(await reclaimFrom(pool, 'gone', 'dead', recordingLog().log), true)
    assert.equal(await giveBackStrays(pool, INSTANCE, [SOURCE], '0', []), 1)
    assert.deepEqual(await fates(), { a: 'FAILED 1', b: 'NEW 0 +1' })
  })
})

test('a role that may not write message_attempt writes outcomes all the same', async (t) => {
  const world = await inbox(t)
  const { role, url } = await plainRole(t, world.database)
  await world.sql.query(
    `${grants(role, 'service_ops')} REVOKE ALL ON service_ops.message_attempt FROM ${role}`,
  )
  await world.send('bad')
  processorOn(t, programPool(t, url), work).start()
  await world.become({ bad: 'DEAD 3' })
})

for (const [what, [refuse, allow]] of Object.entries(REFUSALS)) {
  test(`while the database refuses ${what}, others are done and a drain gives back; then it is written`, async (t) => {
    const { url, sql, send, become, fates } = await inbox(t)
    const processor = processorOn(t, programPool(t, url), work, { concurrency: 10 })
    await sql.query(refuse)
    await send('hangs', 'bad', 'bad 2', 'bad 3')
    processor.start()
    await until('the outcome to wait', () => processor.log.of('outcome_deferred').length > 0)
    await send('good')
    processor.wake()
    await become({ good: 'DONE 1', hangs: 'PROCESSING 1', bad: 'PROCESSING 1' })
    // Whoever fails in one batch with it is not held up by it.
    if (what.startsWith('one')) await become({ 'bad 2': 'DEAD 3', 'bad 3': 'DEAD 3' })
    const drained = processor.drain(0)
    await become({ hangs: 'NEW 0 +1' })
    assert.equal((await fates())['bad'], 'PROCESSING 1')
    await sql.query(allow)
    await become({ bad: 'FAILED 1' })
    await drained
    assert.equal(processor.state.pendingOutcomes, 0)
  })
}
