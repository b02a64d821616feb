import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import type { Instance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/**
 * What a handler does is what its message says; `good` takes long enough to be in work when a process dies. None does it
 * before BESIDE of them have begun.
 */
const CONFIG = `
import { setTimeout as work } from 'node:timers/promises'
let begun = 0
async function act({ payload }) {
  if (process.env.CURED) return
  begun += 1
  while (begun < Number(process.env.BESIDE ?? 0)) await work(10)
  if (payload === 'throws') throw new RangeError('no such tooth')
  if (payload === 'hangs') await new Promise(() => {})
  if (payload === 'exits') { await work(200); process.exit(3) }
  if (payload === 'crashes') { setTimeout(() => { throw new Error('nobody catches this') }, 400); await new Promise(() => {}) }
  if (payload === 'spins') for (;;);
  if (payload === 'good') await work(700)
}
const poller = (name) => ({ source: { table: name, id: 'id', createdAt: 'at', payload: 'what' }, every: '1s' })
const common = { maxAttempts: 2, timeout: process.env.HANDLER_LIMIT ?? '6s', backoff: { base: '50ms', max: '100ms' }, concurrency: 8 }
export default {
  pollers: { inside: poller('inside'), outside: poller('outside') },
  processors: {
    transactional_one: { ...common, from: 'inside', contract: 'transactional', async handle(message, { tx }) {
      await tx.query('INSERT INTO effect VALUES ($1)', [message.messageId])
      await act(message)
    } },
    external_one: { ...common, from: 'outside', contract: 'external', handle: (message) => act(message) },
  },
}`

async function world(t: TestContext) {
  const database = await createDatabase(t)
  const pool = database.pool()
  const table = `(id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), what jsonb)`
  await pool.query(
    `CREATE TABLE effect (message_id text); CREATE TABLE inside ${table}; CREATE TABLE outside ${table}`,
  )
  return {
    start: (env: Readonly<Record<string, string>> = {}) =>
      startInstance(t, {
        databaseUrl: database.url,
        config: CONFIG,
        env: { LEADER_HEARTBEAT_SECONDS: '0.5', LEADER_LEASE_SECONDS: '5', ...env },
      }),
    inbox: (...args: readonly string[]) =>
      tidemark(['inbox', ...args], { env: { DATABASE_URL: database.url } }),
    write: (source: 'inside' | 'outside', what: Readonly<Record<string, string>>) =>
      pool.query(`INSERT INTO ${source} (id, what) SELECT key, value FROM jsonb_each($1)`, [
        JSON.stringify(what),
      ]),
    /** Every message: what became of it, in few words. */
    messages: async () => {
      const { rows } = await pool.query<{ id: string; text: string }>(
        `SELECT message_id AS id, status || ' ' || attempts AS text FROM service_ops.integration_inbox ORDER BY message_id`,
      )
      return Object.fromEntries(rows.map(({ id, text }) => [id, text]))
    },
    lastError: async (id: string) => {
      const { rows } = await pool.query<{ last_error: string }>(
        'SELECT last_error FROM service_ops.integration_inbox WHERE message_id = $1',
        [id],
      )
      return rows[0]?.last_error ?? ''
    },
    effects: async () => {
      const { rows } = await pool.query<{ message_id: string }>('SELECT message_id FROM effect ORDER BY 1')
      return rows.map(({ message_id }) => message_id)
    },
  }
}

const ended = (messages: Readonly<Record<string, string>>, count: number): boolean =>
  Object.keys(messages).length === count && Object.values(messages).every((text) => /^(DONE|DEAD)/.test(text))

describe('a handler that throws, and one that hangs past its limit,', () => {
  test('end DEAD after maxAttempts and cost the messages beside them nothing', async (t) => {
    const { start, write, messages, lastError, effects } = await world(t)
    await write('inside', { a1: 'good', a2: 'throws', a3: 'hangs', a4: 'good' })
    await write('outside', { b1: 'good', b2: 'throws', b3: 'hangs', b4: 'good' })
    const instance = await start()
    await until('all to end', async () => ended(await messages(), 8), 120_000)
    const done = 'DONE 1'
    const dead = 'DEAD 2'
    assert.deepEqual(await messages(), {
      a1: done,
      a2: dead,
      a3: dead,
      a4: done,
      b1: done,
      b2: dead,
      b3: dead,
      b4: done,
    })
    assert.deepEqual(await effects(), ['a1', 'a4'])
    assert.match(await lastError('a2'), /^RangeError: no such tooth/)
    assert.match(await lastError('b3'), /^HandlerTimeout: /)
    // Said after it is written.
    const allDead = await until('the dead to be said', () => {
      const said = instance.of('message_dead').map((line) => line['message_id'])
      return said.length >= 4 && said
    })
    assert.deepEqual(allDead.sort(), ['a2', 'a3', 'b2', 'b3'])
  })
})

describe('messages that end the process, one by exit and one by an uncaught error,', () => {
  test('end DEAD after maxAttempts, cost those beside them, in any processor, one attempt at most, and can be retried', async (t) => {
    const { start, inbox, write, messages, lastError, effects } = await world(t)
    await write('inside', { a1: 'good', a2: 'good', a3: 'exits', a4: 'good' })
    await write('outside', { b1: 'good', b2: 'crashes', b3: 'good' })
    // As a supervisor would: start it again whenever it ends.
    let deaths = 0
    let over = false
    // The limit is no matter here: what hangs takes its process along.
    const env = { HANDLER_LIMIT: '30s' }
    let instance = await start({ ...env, BESIDE: '7' })
    while (!over) {
      const finished = until('all to end', async () => ended(await messages().catch(() => ({})), 7), 180_000)
      over = await Promise.race([finished, instance.exited.then(() => false)])
      finished.catch(() => undefined)
      if (!over) {
        deaths += 1
        instance = await start(env)
      }
      assert.ok(deaths <= 4, 'no message is tried again for ever')
    }
    const fates = await messages()
    t.diagnostic(`${deaths} deaths; ${JSON.stringify(fates)}`)
    assert.deepEqual([fates['a3'], fates['b2']], ['DEAD 2', 'DEAD 2'])
    for (const id of ['a1', 'a2', 'a4', 'b1', 'b3']) assert.match(fates[id] ?? '', /^DONE [12]$/, id)
    assert.ok(
      Object.values(fates).includes('DONE 2'),
      'somebody was beside them, or this test has shown nothing',
    )
    assert.deepEqual(await effects(), ['a1', 'a2', 'a4'])
    assert.match(await lastError('a3'), /^InstanceLost: /)
    assert.equal(deaths, 3, 'the first took both down, then each its own process')

    instance.kill('SIGTERM')
    await instance.exited
    assert.equal(
      (await inbox('retry', '--status', 'DEAD')).stdout,
      '2 messages put back, to be processed now\n',
    )
    const { stdout } = await inbox('show', '--status', 'NEW', '--json')
    const shown = JSON.parse(stdout) as { attempts: number; suspect: boolean }[]
    assert.deepEqual(
      shown.map(({ attempts, suspect }) => ({ attempts, suspect })),
      [0, 0].map((attempts) => ({ attempts, suspect: true })),
      'they have all their attempts again, and still nothing beside them',
    )
    await start({ CURED: '1' })
    const cured = async () => JSON.stringify([(await messages())['a3'], (await messages())['b2']])
    await until('both to be done', async () => (await cured()) === '["DONE 1","DONE 1"]', 120_000)
  })
})

describe('a message that never gives the event loop back', () => {
  test('ends DEAD: the others take what it holds up, its process is ended with a line, and it costs those beside it one attempt at most', async (t) => {
    const { start, write, messages, lastError } = await world(t)
    const begin = () => start({ LEADER_LEASE_SECONDS: '4' })
    const both = await Promise.all([begin(), begin()])
    // Both are there before the first of them stands still: who starts later is no other to take anything.
    for (const one of both) await one.said('ready')
    await write('outside', { b1: 'good', b2: 'spins', b3: 'good' })
    const finished = until('all to end', async () => ended(await messages().catch(() => ({})), 3), 180_000)
    const isOver = finished.then(() => true)
    const deaths: Instance[] = []
    // Started again whenever it ends, as by a supervisor.
    const supervise = async (instance: Instance): Promise<void> => {
      if (await Promise.race([instance.exited.then(() => false), isOver])) return
      deaths.push(instance)
      await supervise(await begin())
    }
    await Promise.all([...both.map(supervise), finished])
    const fates = await messages()
    t.diagnostic(`${deaths.length} processes ended; ${JSON.stringify(fates)}`)
    assert.equal(fates['b2'], 'DEAD 2')
    for (const id of ['b1', 'b3']) assert.match(fates[id] ?? '', /^DONE [12]$/, id)
    assert.match(await lastError('b2'), /^Instance(Frozen|Lost): /)
    assert.ok(deaths.length > 0, 'it stood in somebody’s way, or this test has shown nothing')
    for (const death of deaths) {
      const [line] = death.of('event_loop_blocked')
      assert.match(line?.msg ?? '', /^CRITICAL: the event loop has stood still for 11 s/)
    }
  })
})
