import assert from 'node:assert/strict'
import { homedir, tmpdir } from 'node:os'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { EVENTS } from '../../src/telemetry/events.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance, type Instance } from '../support/instance.ts'
import { until } from '../support/until.ts'

const PROJECT = resolve(import.meta.dirname, '../..')

/** In payloads, in what handlers throw and log, and in the address of the database; never in a line. */
const NEVER = [
  'CARD-4111',
  'hunter2',
  'sk_live_abc123',
  'abcdefghijklmnop',
  'postgres://',
  'postgresql://',
  PROJECT,
  tmpdir() + '/',
  // A user without a home has the root for one, and `//` is in every address.
  ...(homedir() === '/' ? [] : [homedir() + '/']),
  'node_modules',
  '/srv/app',
]

const STACK = /\bat (?:async )?[\w.<>]+ \(|\.[cm]?[jt]s:\d+:\d+/

function assertClean(instance: Instance): void {
  assert.deepEqual(instance.other, [], 'every line is a JSON object with an event')
  for (const line of instance.lines) {
    assert.ok(line.event in EVENTS, `the event ${line.event} is known`)
    for (const field of ['time', 'level', 'msg', 'service', 'instance_id'])
      assert.equal(typeof line[field], 'string', field)
    const text = JSON.stringify(line)
    for (const never of NEVER) assert.ok(!text.includes(never), `${never} is in: ${text}`)
    assert.doesNotMatch(text, STACK)
  }
}

/** What the handlers throw, by message. */
const THROWN = [
  `Object.assign(new Error('connect failed: postgres://app:hunter2@db.internal/shop'), { code: 'ECONNREFUSED' })`,
  `new Error('cannot read /srv/app/keys/billing.pem')`,
  `new Error('bad order ' + JSON.stringify(message.payload))`,
  `new Error('bad order ' + inspect(message.payload) + ' of today')`,
  `new Error('password: hunter2, Authorization: Bearer abcdefghijklmnop, key sk_live_abc123\\nsecond line CARD-4111')`,
  `message.payload`,
  `'token=hunter2'`,
  `new AggregateError([new Error('secret=hunter2')], '')`,
]

test('a run full of failures logs no payload, secret, address, path or stack; and a row’s trace id is in each line about it', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(`
    CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), body text, trace text);
    INSERT INTO orders SELECT i, clock_timestamp(), format('{"card": "CARD-4111", "n": %s}', i), 'trace-of-' || i FROM generate_series(0, 19) i;
    INSERT INTO orders VALUES (100, clock_timestamp(), 'CARD-4111 is no json', 'trace-of-100'), (101, clock_timestamp(), '{"card": "CARD-4111', 'trace-of-101')`)
  const instance = await startInstance(t, {
    databaseUrl: database.url,
    config: `
      import { inspect } from 'node:util'
      const thrown = [${THROWN.map((what) => `(message) => ${what}`).join(',\n')}]
      const failing = async (message, { tx, log }) => {
        const n = message.payload.n
        log.warn('about to fail, secret=hunter2', { password: 'hunter2', file: '/srv/app/keys/billing.pem', why: new Error('see /srv/app/x') })
        if (n < thrown.length) throw thrown[n](message)
        if (n === 8) JSON.parse(message.payload.card)
        if (n === 9) await tx.query("SELECT $1::int", [message.payload.card])
        if (n === 10) await tx.query("SELECT * FROM nowhere")
        if (n === 12) process.emitWarning('see /srv/app/keys of hunter2'.replace('of ', 'password='))
        if (n === 11) await new Promise((_, reject) => setTimeout(() => reject(new Error('/srv/app/late')), 10))
      }
      export default {
        pollers: {
          orders: { source: { table: 'orders', id: 'id', createdAt: 'at', payload: 'body', traceId: 'trace' }, every: '1s' },
          nowhere: { source: { table: 'nowhere', id: 'id', createdAt: 'at', where: "card = 'x'" } },
        },
        processors: { billing: { from: 'orders', contract: 'transactional', concurrency: 3, maxAttempts: 2, backoff: { base: 10, max: 20 }, handle: failing } },
        jobs: { nightly: { cron: '* * * * *', retryLimit: 0, async handle() { throw new Error('job of postgres://app:hunter2@db/shop') } } },
        onShutdown: () => { throw new Error('cannot close /srv/app/keys/billing.pem') },
      }`,
  })
  await instance.said('ready')
  await fetch(`${instance.address}/status?token=hunter2`, {
    headers: { authorization: 'Bearer abcdefghijklmnop' },
  })
  const settled = `SELECT FROM service_ops.integration_inbox WHERE status IN ('DONE', 'DEAD')`
  await until('every message to be settled', async () => (await pool.query(settled)).rowCount === 22, 120_000)
  // Every connection of it breaks at once, and it goes on.
  const address = `tidemark:${instance.id}`
  await pool.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1', [
    address,
  ])
  await pool.query(`INSERT INTO orders VALUES (50, clock_timestamp(), '{"n": 50}', 'trace-of-50')`)
  await until('the message after the break', async () => (await pool.query(settled)).rowCount === 23, 120_000)
  instance.kill('SIGTERM')
  await instance.exited

  assertClean(instance)
  assert.equal(instance.of('message_dead').length, 12)
  assert.equal(instance.of('row_refused').length, 2)
  assert.deepEqual(
    instance.of('runtime_warning').map(({ msg }) => msg),
    ['Node.js warns: see [path] password=[redacted]'],
  )
  const about = instance.lines.filter((line) => 'message_id' in line)
  assert.ok(about.length > 40, `${about.length} lines about messages`)
  for (const line of about)
    assert.equal(line['trace_id'], `trace-of-${String(line['message_id'])}`, JSON.stringify(line))
  for (const event of [
    'message_picked',
    'message_done',
    'message_failed',
    'message_dead',
    'handler_log',
    'row_refused',
  ] as const)
    assert.ok(
      about.some((line) => line.event === event),
      `${event} is about a message`,
    )
  const { rows } = await pool.query<{ text: string }>(
    `SELECT coalesce(string_agg(last_error, E'\\n'), '') AS text FROM service_ops.integration_inbox`,
  )
  for (const never of NEVER)
    assert.ok(!rows[0]?.text.includes(never), `${never} is in last_error: ${rows[0]?.text}`)
})

test('a database that refuses, with the password in its address, is said without it', async (t) => {
  const instance = await startInstance(t, {
    databaseUrl: 'postgres://app:hunter2@127.0.0.1:1/shop?application_name=hunter2',
    config: 'export default {}',
    env: { DATABASE_CONNECT_ATTEMPTS: '2' },
  })
  assert.equal((await instance.exited).code, 1)
  assert.equal(instance.of('database_wait').length, 2)
  assert.match(instance.of('start_failed')[0]?.msg ?? '', /127\.0\.0\.1:1\/shop did not answer in 2 tries/)
  assertClean(instance)
})
