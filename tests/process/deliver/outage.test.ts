import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { until } from '../../support/until.ts'
import { delivering, NO_CIRCUIT } from './fixture.ts'

const QUICK = { failures: 3, open: { baseMs: 100, maxMs: 400 } }
const many = (count: number, name = 'm'): string[] => Array.from({ length: count }, (_, i) => `${name}${i}`)

const ATTEMPTS = `SELECT coalesce(sum(attempts), 0)::integer AS attempts, count(*) FILTER (WHERE status = 'DONE')::integer AS done,
  count(*) FILTER (WHERE status = 'DEAD')::integer AS dead FROM service_ops.integration_inbox`
interface Counts {
  attempts: number
  done: number
  dead: number
}

describe('an outage of the target', () => {
  test('that refuses connections opens the circuit and closes it without a burned attempt', async (t) => {
    const { sql, send, target, processor, log, deliveries } = await delivering(t, { circuit: QUICK })
    await target.close()
    await send(...many(30))
    processor.start()
    await until('the circuit to open', () => log.of('circuit_opened').length > 0)
    assert.deepEqual(
      deliveries.broken.map(({ target: origin, class: why }) => [origin, why]),
      [[new URL(target.url).origin, 'ECONNREFUSED']],
    )
    await until('some probes', () => log.of('message_interrupted').length > 12)
    assert.deepEqual((await sql.query<Counts>(ATTEMPTS)).rows[0]?.dead, 0)
    await target.open()
    await until('all to be done', async () => (await sql.query<Counts>(ATTEMPTS)).rows[0]?.done === 30)
    assert.deepEqual((await sql.query<Counts>(ATTEMPTS)).rows[0], { attempts: 30, done: 30, dead: 0 })
    assert.equal(log.of('circuit_closed').length, log.of('circuit_opened').length)
    assert.deepEqual([log.of('message_failed'), deliveries.broken], [[], []])
  })

  test('with 5xx burns no attempt from the opening of the circuit to its closing', async (t) => {
    const { sql, send, target, processor, log } = await delivering(t, { circuit: QUICK, concurrency: 2 })
    target.react(() => 502)
    await send(...many(20))
    processor.start()
    await until('the circuit to open', () => log.of('circuit_opened').length > 0)
    const at = target.arrivals.length
    await until('some probes', () => target.arrivals.length >= at + 5)
    // Those that came before the one that opened it. One of them may have failed twice by then: it counts once.
    const failed = log.of('message_failed')
    const before = failed.length
    assert.ok(new Set(failed.map(({ message_id: id }) => id)).size < QUICK.failures, JSON.stringify(failed))
    target.react(() => 200)
    await until('all to be done', async () => (await sql.query<Counts>(ATTEMPTS)).rows[0]?.done === 20)
    assert.equal(log.of('message_failed').length, before)
    assert.deepEqual((await sql.query<Counts>(ATTEMPTS)).rows[0], {
      attempts: 20 + before,
      done: 20,
      dead: 0,
    })
  })

  test('is probed with one message at a time, and nothing else is claimed meanwhile', async (t) => {
    const { sql, send, target, processor, log } = await delivering(t, { circuit: QUICK, concurrency: 8 })
    target.react(() => 502)
    await send(...many(20))
    processor.start()
    await until('the circuit to open', () => log.of('circuit_opened').length > 0)
    await until('what was in work to be given back', () => processor.state.inWork <= 1)
    const [arrived, picked] = [target.arrivals.length, log.of('message_picked').length]
    await until('five probes', () => target.arrivals.length >= arrived + 5)
    const [probes, claims] = [target.arrivals.length - arrived, log.of('message_picked').length - picked]
    assert.ok(claims <= probes + 1, `${claims} claimed for ${probes} probes`)
    const working = await sql.query(`SELECT FROM service_ops.integration_inbox WHERE status = 'PROCESSING'`)
    assert.ok((working.rowCount ?? 0) <= 1)
  })

  test('is not prolonged by a message that makes the target fail: the next probe is another one', async (t) => {
    const { send, target, processor, become, log } = await delivering(t, { circuit: QUICK, concurrency: 1 })
    target.react(() => 503)
    await send(...many(3, 'poison'), 'good')
    processor.start()
    await until('the circuit to open', () => log.of('circuit_opened').length > 0)
    const poisoned = new Set(target.arrivals.map(({ id }) => id))
    target.react(({ id }) => (poisoned.has(id) ? 503 : 200))
    await become({ good: 'DONE 1' })
  })
})

test('a message that cannot even be written down comes to its end, and is no probe that never ends', async (t) => {
  const { sql, send, target, processor, become, log } = await delivering(t, {
    circuit: { failures: 1, open: { baseMs: 300, maxMs: 300 } },
    concurrency: 1,
  })
  target.react(() => 502)
  await send('a')
  processor.start()
  await until('the circuit to open', () => log.of('circuit_opened').length > 0)
  // Deeper than JSON.stringify can go, though not than what reads it. What waits is claimed before what is fresh.
  await sql.query(
    `INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id, next_attempt_at, status, attempts)
     VALUES ('letters', 'deep', $1::jsonb, 'x', now() - interval '1 hour', 'FAILED', 1)`,
    ['['.repeat(6_000) + ']'.repeat(6_000)],
  )
  target.react(() => 200)
  await send('b')
  await become({ a: 'DONE 1 +1', b: 'DONE 1', deep: 'DEAD 3' })
})

test('a message that ends its receiver comes to its end, over a connection that lay idle, too', async (t) => {
  const { send, target, processor, become, lastErrors } = await delivering(t, {
    circuit: NO_CIRCUIT,
    maxAttempts: 1,
    concurrency: 1,
  })
  await send('before')
  processor.start()
  await become({ before: 'DONE 1' })
  target.react(() => (_, __, socket) => {
    void target.close()
    socket.resetAndDestroy()
  })
  await send('poison')
  processor.wake()
  await become({ poison: 'DEAD 1' })
  assert.match((await lastErrors())['poison'] ?? '', /^DeliveryBroken: \[ECONNRESET\]/)
})

test('a delivery that we end ourselves says nothing of its target', async (t) => {
  const { send, target, processor, fates, log } = await delivering(t, { circuit: { ...QUICK, failures: 1 } })
  target.react(() => () => undefined)
  await send('a')
  processor.start()
  await until('it to arrive', () => target.arrivals.length === 1)
  await processor.drain(0)
  assert.deepEqual(await fates(), { a: 'NEW 0 +1' })
  assert.deepEqual(log.of('circuit_opened'), [])
})

test('a message that did not reach its target waits as after a failure', async (t) => {
  const backoff = { baseMs: 600_000, maxMs: 600_000 }
  const { sql, send, target, processor, become } = await delivering(t, { circuit: NO_CIRCUIT, backoff })
  await target.close()
  await send('a')
  processor.start()
  await become({ a: 'NEW 0 +1' })
  const { rows } = await sql.query<{ s: number }>(
    'SELECT extract(epoch FROM next_attempt_at - updated_at)::float8 AS s FROM service_ops.integration_inbox',
  )
  assert.ok((rows[0]?.s ?? 0) >= 299, `it waits ${rows[0]?.s} s`)
})

describe('one message', () => {
  test('that the target refuses opens no circuit, however many there are', async (t) => {
    const { sql, send, target, processor, log } = await delivering(t, { circuit: QUICK })
    target.react(() => 422)
    await send(...many(12))
    processor.start()
    await until('all to be dead', async () => (await sql.query<Counts>(ATTEMPTS)).rows[0]?.dead === 12)
    assert.deepEqual(log.of('circuit_opened'), [])
  })

  test('whose delivery fails for itself comes to its end, and the others go on', async (t) => {
    const { send, target, processor, become, log } = await delivering(t, { circuit: QUICK })
    target.react(() => 500)
    await send('poison')
    processor.start()
    await become({ poison: 'DEAD 3' })
    assert.deepEqual(log.of('circuit_opened'), [])
  })
})

describe('Retry-After', () => {
  const waits = `SELECT extract(epoch FROM next_attempt_at - updated_at)::float8 AS s FROM service_ops.integration_inbox`
  const forms: [form: string, header: () => string, least: number][] = [
    ['in seconds', () => '600', 600],
    ['as a date', () => new Date(Date.now() + 600_000).toUTCString(), 598],
  ]
  for (const [form, header, least] of forms) {
    for (const status of [429, 503, 500, 408, 425, 307])
      test(`${form} with ${status} is waited for`, async (t) => {
        const { sql, send, target, processor, fates } = await delivering(t)
        target.react(() => (answer) => answer.writeHead(status, { 'retry-after': header() }).end())
        await send('a')
        processor.start()
        await until('it to wait', async () => /^(FAILED 1|NEW 0 \+1)$/.test((await fates())['a'] ?? ''))
        const { rows } = await sql.query<{ s: number }>(waits)
        assert.ok((rows[0]?.s ?? 0) >= least, `it waits ${rows[0]?.s} s`)
      })
  }

  test('with 500 is about its message alone: the others are sent at once', async (t) => {
    const { send, target, processor, become, log } = await delivering(t, { concurrency: 1 })
    target.react(() => (answer) => answer.writeHead(500, { 'retry-after': '600' }).end())
    await send('a')
    processor.start()
    await become({ a: 'FAILED 1' })
    target.react(() => 200)
    await send('b')
    processor.wake()
    await become({ b: 'DONE 1', a: 'FAILED 1' })
    assert.deepEqual(log.of('circuit_opened'), [])
  })

  test('that cannot be read is none', async (t) => {
    const { send, target, processor, become } = await delivering(t, { circuit: NO_CIRCUIT })
    target.react(() => (answer) => answer.writeHead(503, { 'retry-after': 'after lunch' }).end())
    await send('a')
    processor.start()
    await become({ a: 'DEAD 3' })
  })

  for (const status of [429, 503])
    test(`with ${status} holds back every message for that time, and burns no attempt`, async (t) => {
      const { sql, send, target, processor, log } = await delivering(t, { concurrency: 1 })
      let askedAt = 0
      target.react(({ at }, time) => {
        if (askedAt > 0 || time > 1) return 200
        askedAt = at
        return (answer) => answer.writeHead(status, { 'retry-after': '2' }).end()
      })
      await send(...many(6))
      processor.start()
      await until('all to be done', async () => (await sql.query<Counts>(ATTEMPTS)).rows[0]?.done === 6)
      const next = target.arrivals[1] ?? assert.fail('nothing arrived')
      assert.ok(next.at - askedAt >= 2_000, `the next came after ${next.at - askedAt} ms`)
      assert.deepEqual((await sql.query<Counts>(ATTEMPTS)).rows[0], { attempts: 6, done: 6, dead: 0 })
      assert.equal(log.of('circuit_opened')[0]?.class, String(status))
    })
})
