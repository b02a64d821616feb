import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { reclaimFrom } from '../../src/process/reclaim.ts'
import { claimMessages, giveBack, giveBackStrays } from '../../src/tables/inbox.ts'
import { readAttempts } from '../../src/tables/attempt.ts'
import type { MessageAttempt } from '../../src/tables/attempt.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import { hang, inbox, INSTANCE, processorOn, programPool, recordingLog, SOURCE } from './fixture.ts'

/** An inbox with one message, `a`, its number being 1, and what its claims came to. */
async function one(t: Scope) {
  const world = await inbox(t)
  const pool = programPool(t, world.url)
  await world.send('a')
  const attempts = (): Promise<MessageAttempt[]> => readAttempts(pool, '1')
  const claim = (instanceId: string, ahead = false) =>
    claimMessages(pool, {
      sources: [SOURCE],
      instanceId,
      limit: 1,
      low: '0',
      maxAttempts: 3,
      maxBytes: 1e6,
      ahead,
    })
  return {
    ...world,
    pool,
    claim,
    attempts,
    /** `2 of other: reclaimed, InstanceLost: …` each, in order. */
    told: async () =>
      (await attempts()).map(
        ({ attempt, instance_id: who, outcome, error }) => `${attempt} of ${who}: ${outcome}, ${error ?? ''}`,
      ),
  }
}

describe('what becomes of a claim is written down', () => {
  test('when its handler fails, with the error, when it began and when it ended, and nothing when it is done', async (t) => {
    const { pool, become, attempts, told } = await one(t)
    let calls = 0
    const handle = async (): Promise<void> => {
      calls += 1
      await until('a moment', () => performance.now() > 0)
      if (calls === 1) throw new RangeError('too far\nand more')
    }
    processorOn(t, pool, { kind: 'external', handle }).start()
    await become({ a: 'DONE 2' })
    assert.deepEqual(await told(), [`1 of ${INSTANCE}: failed, RangeError: too far`])
    const [failed] = await attempts()
    assert.ok(failed?.started_at != null && failed.started_at < failed.ended_at)
  })

  test('with the attempt that makes it DEAD', async (t) => {
    const { pool, become, told } = await one(t)
    const work = { kind: 'external', handle: () => Promise.reject(new Error('no')) } as const
    processorOn(t, pool, work, { maxAttempts: 2 }).start()
    await become({ a: 'DEAD 2' })
    assert.deepEqual(await told(), [
      `1 of ${INSTANCE}: failed, Error: no`,
      `2 of ${INSTANCE}: dead, Error: no`,
    ])
  })

  test('of a transactional handler that runs past its limit', async (t) => {
    const { pool, become, told } = await one(t)
    processorOn(t, pool, { kind: 'transactional', handle: hang }, { timeoutMs: 100, maxAttempts: 1 }).start()
    await become({ a: 'DEAD 1' })
    assert.match((await told()).join(), /^1 of this-instance: dead, HandlerTimeout: .*100 ms/)
  })

  test('when a drain interrupts it, as the attempt that it would have been', async (t) => {
    const { pool, become, attempts, told } = await one(t)
    let begun = false
    const handle = (): Promise<never> => {
      begun = true
      return hang()
    }
    const processor = processorOn(t, pool, { kind: 'external', handle })
    processor.start()
    await until('the handler', () => begun)
    await processor.drain(0)
    await become({ a: 'NEW 0 +1' })
    assert.deepEqual(await told(), [`1 of ${INSTANCE}: interrupted, Interrupted: drain`])
    assert.notEqual((await attempts())[0]?.started_at, null)
  })

  test('when it is given back unrun: then nothing began', async (t) => {
    const { pool, claim, attempts, told } = await one(t)
    const [row] = await claim(INSTANCE, true)
    await giveBack(pool, INSTANCE, [
      { inboxId: '1', claim: row?.claim ?? 0, waitMs: 0, counts: false, reason: 'paused' },
    ])
    assert.deepEqual(await told(), [`1 of ${INSTANCE}: interrupted, Interrupted: paused`])
    assert.equal((await attempts())[0]?.started_at, null)
  })

  test('when the answer of the claim was lost', async (t) => {
    const { pool, claim, told } = await one(t)
    await claim(INSTANCE)
    assert.equal(await giveBackStrays(pool, INSTANCE, [SOURCE], '0', []), 1)
    assert.deepEqual(await told(), [
      `1 of ${INSTANCE}: interrupted, Interrupted: the answer of the claim was lost`,
    ])
  })

  test('when its instance died or stood still, by whoever takes it back', async (t) => {
    const { pool, claim, told, attempts, sql } = await one(t)
    const { log } = recordingLog()
    await claim('gone')
    await reclaimFrom(pool, 'gone', 'dead', log)
    await sql.query(`UPDATE service_ops.integration_inbox SET suspect = false`)
    await claim('ahead', true)
    await reclaimFrom(pool, 'ahead', 'dead', log)
    await sql.query(`UPDATE service_ops.integration_inbox SET suspect = false`)
    await claim('still')
    await reclaimFrom(pool, 'still', 'frozen', log)
    assert.deepEqual(await told(), [
      '1 of gone: reclaimed, InstanceLost: the process ended while the handler ran',
      '2 of ahead: reclaimed, InstanceLost: the process ended before the handler had begun, as far as is known',
      '2 of still: reclaimed, InstanceFrozen: the process stood still while the handler ran',
    ])
    assert.deepEqual(
      (await attempts()).map(({ started_at }) => started_at !== null),
      [true, false, true],
    )
  })
})

test('a claim that is no longer ours writes nothing', async (t) => {
  const { pool, claim, told } = await one(t)
  const [row] = await claim('other')
  await giveBack(pool, INSTANCE, [
    { inboxId: '1', claim: row?.claim ?? 0, waitMs: 0, counts: false, reason: 'drain' },
  ])
  assert.deepEqual(await told(), [])
})

test('of a message that is interrupted again and again, the newest 50 are kept, and none of its neighbour is lost', async (t) => {
  const { pool, claim, attempts, send, sql } = await one(t)
  await send('b')
  await sql.query(
    `UPDATE service_ops.integration_inbox SET next_attempt_at = 'infinity' WHERE message_id = 'b'`,
  )
  await sql.query(
    `INSERT INTO service_ops.message_attempt (inbox_id, claim, attempt, instance_id, outcome) VALUES (2, 1, 1, 'other', 'failed')`,
  )
  for (let i = 0; i < 53; i += 1) {
    const [row] = await claim(INSTANCE)
    await giveBack(pool, INSTANCE, [
      { inboxId: '1', claim: row?.claim ?? 0, waitMs: 0, counts: false, reason: 'drain' },
    ])
  }
  const claims = (await attempts()).map((attempt) => attempt.claim)
  assert.deepEqual([claims.length, claims[0], claims.at(-1)], [50, 4, 53])
  assert.equal((await readAttempts(pool, '2')).length, 1)
})

test('who has done a message stands in its row', async (t) => {
  const { pool, become, sql } = await one(t)
  processorOn(t, pool, { kind: 'external', handle: () => Promise.resolve() }).start()
  await become({ a: 'DONE 1' })
  const { rows } = await sql.query<Record<string, unknown>>(
    'SELECT locked_by, locked_at FROM service_ops.integration_inbox',
  )
  assert.deepEqual(rows, [{ locked_by: INSTANCE, locked_at: null }])
  assert.deepEqual((await sql.query('SELECT name FROM service_ops.verify() WHERE ok IS NOT TRUE')).rows, [])
})
