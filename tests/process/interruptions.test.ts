import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { Client, DatabaseError } from 'pg'
import type { QueryConfig } from 'pg'
import type { Pool } from '../../src/db/pool.ts'
import { claimMessages, claimSuspect, INTERRUPTIONS_AN_ATTEMPT, writeDone } from '../../src/tables/inbox.ts'
import { reclaimFrom } from '../../src/process/reclaim.ts'
import { beat } from '../../src/tables/instance.ts'
import { until } from '../support/until.ts'
import { hang, inbox, INSTANCE, processorOn, programPool, recordingLog, SOURCE } from './fixture.ts'
import type { Work } from './fixture.ts'
import { listened } from './listened.ts'

describe('a message with one attempt', () => {
  test('survives 20 interruptions by drain', async (t) => {
    const { url, send, become } = await inbox(t)
    const pool = programPool(t, url)
    await send('a')
    for (let drains = 1; drains <= 20; drains += 1) {
      let running = false
      const processor = processorOn(
        t,
        pool,
        {
          kind: 'external',
          handle: () => {
            running = true
            return hang()
          },
        },
        // One place, and it is taken: no other claim is under way that could bring the message back a second time.
        { maxAttempts: 1, concurrency: 1 },
      )
      processor.start()
      await until('it to run', () => running)
      await processor.drain(0)
      await become({ a: `NEW 0 +${drains}` })
    }
    processorOn(t, pool, { kind: 'external', handle: () => undefined }, { maxAttempts: 1 }).start()
    await become({ a: 'DONE 1 +20' })
  })

  test('survives that its process, or the server, stood still for longer than a statement may take', async (t) => {
    const { url, send, become } = await inbox(t)
    await send('a')
    let runs = 0
    const handle: Extract<Work, { kind: 'transactional' }>['handle'] = async (_, { tx }) => {
      runs += 1
      // node-postgres's own limit is above the server's: whoever reaches it was not heard.
      if (runs === 1) await tx.query({ text: 'SELECT pg_sleep(1)', query_timeout: 20 } as QueryConfig)
    }
    processorOn(t, programPool(t, url), { kind: 'transactional', handle }, { maxAttempts: 1 }).start()
    await become({ a: 'DONE 1 +1' })
  })

  test('that loses its connection each time is DEAD after 20 of them in a row, as one that ends it would be', async (t) => {
    const { url, sql, send, become, lastErrors } = await inbox(t)
    await send('a', 'b')
    let runs = 0
    const processor = processorOn(
      t,
      programPool(t, url),
      {
        kind: 'transactional',
        async handle({ messageId }, { tx }) {
          if (messageId === 'b') return
          runs += 1
          await tx.query('SELECT pg_terminate_backend(pg_backend_pid())')
        },
      },
      { maxAttempts: 1, backoff: { baseMs: 1, maxMs: 1 } },
    )
    processor.start()
    await become({ a: `DEAD 1 +${INTERRUPTIONS_AN_ATTEMPT}`, b: 'DONE 1' })
    assert.equal(runs, INTERRUPTIONS_AN_ATTEMPT)
    assert.match((await lastErrors())['a'] ?? '', /^Interrupted: 20 times in a row/)
    await until('it to be said', () => processor.log.of('message_dead').length === 1)
    const { rows } = await sql.query('SELECT * FROM service_ops.verify() WHERE NOT ok')
    assert.deepEqual(rows, [])
  })
})

describe('a frozen instance', () => {
  test('has the transactions that hold its messages ended before they are taken back, its sentinel left alone', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    await send('a', 'b')
    const request = { sources: [SOURCE], limit: 2, low: '0', maxAttempts: 3, maxBytes: 1_000 }
    const [a] = await claimMessages(sql, { ...request, instanceId: INSTANCE })
    assert.ok(a)
    // What a process that stands still leaves behind: a transaction that holds a message of its, and an idle session.
    const own = async () => {
      const client = new Client({ connectionString: url, application_name: `tidemark:${INSTANCE}` })
      const ended = new Promise<'ended'>((resolve) => client.once('end', () => resolve('ended')))
      client.on('error', () => undefined)
      await client.connect()
      t.after(() => client.end())
      return { client, ended }
    }
    const [busy, idle] = [await own(), await own()]
    await busy.client.query('BEGIN')
    await writeDone(busy.client, INSTANCE, [{ inboxId: a.inbox_id, claim: a.claim }])

    const other = programPool(t, url)
    const { log } = recordingLog()
    await until('it to be taken back', () => reclaimFrom(other, INSTANCE, 'frozen', log))
    await become({ a: 'NEW 0 +1', b: 'NEW 0 +1' })
    assert.equal(await busy.ended, 'ended')
    assert.equal((await idle.client.query('SELECT 1')).rowCount, 1)
  })

  test('that is dead, and whose backend lives on with a transaction, has it ended too', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    await send('a')
    const request = { sources: [SOURCE], limit: 1, low: '0', maxAttempts: 3, maxBytes: 1_000 }
    const [a] = await claimMessages(sql, { ...request, instanceId: INSTANCE })
    assert.ok(a)
    const left = new Client({ connectionString: url, application_name: `tidemark:${INSTANCE}` })
    left.on('error', () => undefined)
    await left.connect()
    t.after(() => left.end())
    await left.query('BEGIN')
    await writeDone(left, INSTANCE, [{ inboxId: a.inbox_id, claim: a.claim }])
    const other = programPool(t, url)
    await until('it to be taken back', () => reclaimFrom(other, INSTANCE, 'dead', recordingLog().log))
    await become({ a: 'FAILED 1' })
  })

  test('is taken back also by a role that may not end its sessions', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    await send('a')
    const request = { sources: [SOURCE], limit: 1, low: '0', maxAttempts: 3, maxBytes: 1_000 }
    await claimMessages(sql, { ...request, instanceId: INSTANCE })
    const pool = programPool(t, url)
    const denied = new DatabaseError('permission denied for function pg_terminate_backend', 0, 'error')
    const plain: Pool = Object.assign(Object.create(pool) as Pool, {
      query: (text: string, values?: readonly unknown[]) =>
        text.includes('pg_terminate_backend')
          ? Promise.reject(Object.assign(denied, { code: '42501', severity: 'ERROR' }))
          : pool.query(text, values),
    })
    assert.equal(await reclaimFrom(plain, INSTANCE, 'frozen', recordingLog().log), true)
    await become({ a: 'NEW 0 +1' })
  })

  test('costs its messages no attempt; one that meets a freeze again, with nothing beside it, loses one each time', async (t) => {
    const { url, sql, send, become, lastErrors } = await inbox(t)
    await send('a', 'b')
    const other = programPool(t, url)
    const { log, recorded } = recordingLog()
    const request = {
      sources: [SOURCE],
      limit: 2,
      low: '0',
      maxAttempts: 2,
      maxBytes: 1_000,
      instanceId: INSTANCE,
    }
    const freeze = (): Promise<boolean> => reclaimFrom(other, INSTANCE, 'frozen', log)
    assert.equal((await claimMessages(sql, request)).length, 2)
    await freeze()
    await become({ a: 'NEW 0 +1', b: 'NEW 0 +1' })
    assert.deepEqual(await claimMessages(sql, request), [], 'no longer claimed beside others')
    const [first] = await claimSuspect(sql, request)
    await freeze()
    assert.equal(first?.message_id, 'a')
    await become({ a: 'FAILED 1 +2', b: 'NEW 0 +1' })
    assert.match((await lastErrors())['a'] ?? '', /^InstanceFrozen: /)
    // The other one, which had only been beside it, ends as it would have.
    const [second] = await claimSuspect(sql, request)
    assert.ok(second)
    await writeDone(sql, INSTANCE, [{ inboxId: second.inbox_id, claim: second.claim }])
    await claimSuspect(sql, request)
    await freeze()
    await become({ a: 'DEAD 2 +3', b: 'DONE 1 +1' })
    assert.deepEqual(
      recorded.of('message_dead').map((line) => [line.message_id, line.class, line.attempt]),
      [['a', 'InstanceFrozen', 2]],
      'whoever takes it back says so: nobody else will',
    )
  })

  test('costs a suspect no attempt where it was claimed after the silence, before the heartbeat that ends it', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    await send('a')
    const other = programPool(t, url)
    const request = {
      sources: [SOURCE],
      limit: 1,
      low: '0',
      maxAttempts: 2,
      maxBytes: 1_000,
      instanceId: INSTANCE,
    }
    const freeze = (): Promise<boolean> => reclaimFrom(other, INSTANCE, 'frozen', recordingLog().log)
    await beat(sql, {
      instanceId: INSTANCE,
      holder: randomUUID(),
      machineId: null,
      region: null,
      release: '1',
      processGroup: null,
      state: 'ready',
      sentinel: true,
      tasks: [],
    })
    assert.equal((await claimMessages(sql, request)).length, 1)
    await freeze()
    await become({ a: 'NEW 0 +1' })
    const silentFor = (seconds: number) =>
      sql.query(
        `UPDATE service_ops.runner_instance SET last_seen_at = clock_timestamp() - $1 * interval '1 second'`,
        [seconds],
      )
    await silentFor(11)
    assert.equal((await claimSuspect(sql, request)).length, 1)
    await freeze()
    await become({ a: 'NEW 0 +2' })
    await silentFor(2)
    assert.equal((await claimSuspect(sql, request)).length, 1)
    await silentFor(2)
    await freeze()
    await become({ a: 'FAILED 1 +3' })
  })
})

/** Lets the monotonic clock of this process jump, as after a freeze; the jump is undone at the end of the test. */
function jumpingClock(t: TestContext): { jump(ms: number): void } {
  const now = performance.now.bind(performance)
  let jumped = 0
  t.mock.method(performance, 'now', () => now() + jumped)
  return { jump: (ms) => void (jumped += ms) }
}

const TAKE = `UPDATE service_ops.integration_inbox SET locked_by = 'other', claim = claim + 1 WHERE message_id = 'taken'`

describe('a message that was taken from us', () => {
  test('has its handler aborted within seconds, and nothing is written; its neighbour runs on', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    const clock = jumpingClock(t)
    const signals: AbortSignal[] = []
    const processor = processorOn(t, programPool(t, url), {
      kind: 'external',
      handle(_message, { signal }) {
        signals.push(signal)
        return hang()
      },
    })
    await send('taken', 'ours')
    processor.start()
    await until('both to run', () => signals.length === 2)
    await sql.query(TAKE)
    clock.jump(5_000)
    processor.wake()
    await until('one to be aborted', () => signals.some(({ aborted }) => aborted))
    assert.equal(signals.filter(({ aborted }) => aborted).length, 1)
    await until('it to be said', () => processor.log.of('message_interrupted').length === 1)
    await become({ taken: 'PROCESSING 1', ours: 'PROCESSING 1' })
  })

  test('while the answer of its claim lay unread does not begin; what is still ours does', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    const clock = jumpingClock(t)
    const pool = programPool(t, url)
    let claims = 0
    // The process stands still with the answer on its way, and somebody takes one of the messages meanwhile.
    const frozen = listened(pool, async (text, ask) => {
      const answer = await ask()
      if (!text.includes('SKIP LOCKED') || answer.rows.length === 0) return answer
      claims += 1
      if (claims === 1) {
        await sql.query(TAKE)
        clock.jump(3_000)
      }
      return answer
    })
    const runs: string[] = []
    const processor = processorOn(t, frozen, {
      kind: 'external',
      handle: ({ messageId }) => void runs.push(messageId),
    })
    await send('taken', 'ours')
    processor.start()
    await become({ taken: 'PROCESSING 1', ours: 'DONE 1' })
    await until('it to be said', () => processor.log.of('message_interrupted').length === 1)
    assert.deepEqual(runs, ['ours'])
  })
})

describe('a message whose transaction could not begin', () => {
  test('has lost no attempt when its time was over before there was a connection', async (t) => {
    const { url, send } = await inbox(t)
    const pool = programPool(t, url)
    const free = Promise.withResolvers<undefined>()
    const short: Pool = Object.assign(Object.create(pool) as Pool, {
      connect: async () => {
        await free.promise
        return pool.connect()
      },
    })
    let begun = 0
    const work: Work = { kind: 'transactional', handle: () => void (begun += 1) }
    // Long enough for a whole transaction, once there is a connection.
    const processor = processorOn(t, short, work, { maxAttempts: 1, timeoutMs: 1_500 })
    await send('a')
    processor.start()
    await until('it to be given back', () => processor.log.of('message_interrupted').length > 0)
    assert.equal(begun, 0)
    free.resolve(undefined)
    await until('it to be done', () => processor.log.of('message_done').length === 1)
    assert.deepEqual(processor.log.of('message_dead'), [])
    assert.equal(begun, 1)
  })

  test('has lost no attempt when somebody held its row locked', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    const pool = programPool(t, url)
    const other = await sql.connect()
    let locked = false
    const slow: Pool = Object.assign(Object.create(pool) as Pool, {
      async connect() {
        if (!locked) await other.query('BEGIN; SELECT FROM service_ops.integration_inbox FOR UPDATE')
        locked = true
        return pool.connect()
      },
    })
    const work: Work = { kind: 'transactional', handle: () => undefined }
    // Long enough for a whole transaction, once the row is free.
    const processor = processorOn(t, slow, work, { maxAttempts: 1, timeoutMs: 1_500 })
    await send('a')
    processor.start()
    try {
      await until('its outcome to wait for the row', () => processor.state.pendingOutcomes === 1)
    } finally {
      await other.query('ROLLBACK')
      other.release()
    }
    await become({ a: 'DONE 1 +1' })
    assert.deepEqual(
      processor.log.of('message_interrupted').map(({ reason }) => reason),
      ['its transaction could not begin'],
    )
  })
})
