import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import type { Instance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/**
 * Each kind of handler does what its message says: `ms` of work, `told`, which ends when the test says so (by the file TOLD),
 * or `hang`, which never ends and ignores its signal.
 * `runs` counts how often a handler began (a write of its own, that no rollback undoes), `effect` what a transaction did.
 */
const CONFIG = `
import { existsSync } from 'node:fs'
import { setTimeout as work } from 'node:timers/promises'
const hangs = ({ payload }) => process.env.NOTHING_HANGS ? false : payload.hang
async function doIt(message) {
  if (hangs(message)) await new Promise(() => {})
  else if (message.payload.told) while (!existsSync(process.env.TOLD)) await work(10)
  else await work(message.payload.ms ?? 1)
}
const poller = (name) => ({ source: { table: name, id: 'id', createdAt: 'at', payload: 'todo' }, every: '1s' })
export default {
  pollers: { alone: poller('alone'), outside: poller('outside'), many: poller('many') },
  processors: {
    transactional_one: { from: 'alone', contract: 'transactional', exclusive: true, async handle(message, { tx, log }) {
      log.info('began')
      await tx.query('INSERT INTO effect VALUES ($1)', [message.messageId])
      if (hangs(message) === 'in sql') await tx.query('SELECT pg_sleep(3600)')
      await doIt(message)
    } },
    external_one: { from: 'outside', contract: 'external', async handle(message, { log }) { log.info('began'); await doIt(message) } },
    batch_one: { from: 'many', batchSize: 3, concurrency: 2, async handleBatch(messages, { log }) {
      log.info('began')
      await Promise.all(messages.map((message) => doIt(message)))
    } },
  },
}`

const SOURCES = ['alone', 'outside', 'many'] as const
type Todo = { ms: number } | { told: true } | { hang: true | 'in sql' }

async function world(t: TestContext) {
  const database = await createDatabase(t)
  const pool = database.pool()
  const table = `(id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), todo jsonb)`
  await pool.query(`CREATE TABLE effect (message_id text);
    ${SOURCES.map((source) => `CREATE TABLE ${source} ${table}`).join(';')}`)
  return {
    pool,
    start: (env: Record<string, string> = {}) =>
      startInstance(t, { databaseUrl: database.url, config: CONFIG, env }),
    write: async (source: (typeof SOURCES)[number], todo: Readonly<Record<string, Todo>>) => {
      await pool.query(
        `INSERT INTO ${source} (id, todo) SELECT key, value FROM jsonb_each($1) ORDER BY key DESC`,
        [JSON.stringify(todo)],
      )
    },
    /** Every message: what became of it, in few words. */
    messages: async () => {
      const { rows } = await pool.query<{ id: string; text: string }>(
        `SELECT message_id AS id, format('%s, %s attempts, %s interruptions', status, attempts, interruptions) AS text
           FROM service_ops.integration_inbox ORDER BY message_id`,
      )
      return Object.fromEntries(rows.map(({ id, text }) => [id, text]))
    },
    effects: async () => {
      const { rows } = await pool.query<{ message_id: string }>('SELECT message_id FROM effect ORDER BY 1')
      return rows.map(({ message_id }) => message_id)
    },
  }
}

const began = (instance: Instance, calls: number): Promise<unknown> =>
  until(
    `${calls} handler calls to begin`,
    () => instance.of('handler_log', { msg: 'began' }).length >= calls,
    60_000,
  )

/** The first half of a request now, the rest when told; resolves with all that came back. */
async function slowRequest(t: TestContext, address: string) {
  const { hostname, port } = new URL(address)
  const socket = connect(Number(port), hostname)
  t.after(() => void socket.destroy())
  let answer = ''
  const closed = new Promise<string>((done, fail) => {
    socket.on('data', (bytes) => (answer += bytes.toString()))
    socket.on('error', fail)
    socket.on('close', () => done(answer))
  })
  closed.catch(() => undefined)
  await new Promise((sent) => socket.write('GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n', sent))
  return {
    answered: closed,
    finish: () => void socket.write('\r\n'),
  }
}

describe('a drain', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`at ${signal} answers the request under way, lets handlers finish, and gives back what does not`, async (t) => {
      const { start, write, messages, effects } = await world(t)
      const folder = mkdtempSync(join(tmpdir(), 'tidemark-drain-'))
      t.after(() => rmSync(folder, { recursive: true, force: true }))
      const told = join(folder, 'told')
      const instance = await start({ DRAIN_TIMEOUT_SECONDS: '6', TOLD: told })
      await instance.said('ready')
      await write('alone', { a1: { told: true }, a2: { hang: true }, a3: { hang: 'in sql' } })
      await write('outside', { b1: { told: true }, b2: { hang: true } })
      // One call for three, so one that hangs takes the others back with it; what comes after is a call of its own.
      await write('many', { c1: { told: true }, c2: { hang: true }, c3: { ms: 1 } })
      await began(instance, 6)
      const request = await slowRequest(t, instance.address)

      const killed = instance.kill(signal)
      await instance.said('drain_step', { step: 'finish what is in flight' })
      writeFileSync(told, '')
      const ready = await fetch(`${instance.address}/ready`)
      assert.deepEqual([ready.status, await ready.json()], [503, { status: 'draining' }])
      request.finish()
      const answer = await request.answered
      assert.match(answer, /^HTTP\/1\.1 200 /)
      assert.match(answer, /connection: close/i)
      assert.match(answer, /"pollers"/)

      const exit = await instance.exited
      t.diagnostic(`exit after ${exit.at - killed} ms`)
      assert.equal(exit.code, 0)
      assert.ok(exit.at - killed < 60_000, 'the drain limit and a few seconds')
      const back = 'NEW, 0 attempts, 1 interruptions'
      const done = 'DONE, 1 attempts, 0 interruptions'
      assert.deepEqual(await messages(), {
        a1: done,
        a2: back,
        a3: back,
        b1: done,
        b2: back,
        c1: back,
        c2: back,
        c3: back,
      })
      assert.deepEqual(await effects(), ['a1'])
      const [completed] = instance.of('drain_completed')
      assert.deepEqual([completed?.['finished'], completed?.['given_back']], [2, 6])
    })
  }

  test('cut short by a second signal is over at once, and still gives its work back', async (t) => {
    const { pool, start, write, messages } = await world(t)
    for (const [second, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const instance = await start({ DRAIN_TIMEOUT_SECONDS: '600', SHUTDOWN_TIMEOUT_SECONDS: '700' })
      await instance.said('ready')
      await write('alone', { [`${second} a`]: { hang: true }, [`${second} b`]: { hang: 'in sql' } })
      await write('outside', { [`${second} c`]: { hang: true } })
      await write('many', { [`${second} d`]: { hang: true } })
      await began(instance, 4)
      instance.kill('SIGTERM')
      await instance.said('drain_step', { step: 'finish what is in flight' })
      const killed = instance.kill(second)
      const exit = await instance.exited
      t.diagnostic(`${second}: exit after ${exit.at - killed} ms`)
      assert.equal(exit.code, code)
      assert.ok(exit.at - killed < 20_000)
      for (const [id, text] of Object.entries(await messages()))
        assert.equal(text, 'NEW, 0 attempts, 1 interruptions', id)
      const stopped = await pool.query(
        `SELECT FROM service_ops.runner_instance WHERE instance_id = $1 AND state = 'stopped'`,
        [instance.id],
      )
      assert.equal(stopped.rowCount, 1, 'it said that it stopped')
      await pool.query(`DELETE FROM service_ops.integration_inbox`)
      for (const source of SOURCES) await pool.query(`DELETE FROM ${source}`)
    }
  })
})

describe('what a drain cannot give back', () => {
  test('because its row is locked, is taken back by the others once it is free', async (t) => {
    const { pool, start, write, messages } = await world(t)
    const leaving = await start({ DRAIN_TIMEOUT_SECONDS: '1' })
    await leaving.said('ready')
    await write('outside', { b1: { ms: 3_600_000 } })
    await began(leaving, 1)
    const other = await start()
    await other.said('ready')
    const lock = await pool.connect()
    await lock.query(`BEGIN; SELECT FROM service_ops.integration_inbox WHERE message_id = 'b1' FOR UPDATE`)
    leaving.kill('SIGTERM')
    assert.equal((await leaving.exited).code, 0)
    assert.deepEqual(await messages(), { b1: 'PROCESSING, 1 attempts, 0 interruptions' })
    await lock.query('COMMIT')
    lock.release()
    await other.said('reclaimed_instance', { dead_instance: leaving.id })
    await began(other, 1)
  })
})

describe('an instance killed in the middle of its handlers', () => {
  test('loses none of their messages: another takes them back and finishes them', async (t) => {
    const { start, write, messages, effects } = await world(t)
    const doomed = await start()
    await doomed.said('ready')
    await write('alone', { a1: { hang: true }, a2: { hang: 'in sql' } })
    await write('outside', { b1: { hang: true } })
    await write('many', { c1: { hang: true }, c2: { ms: 1 } })
    await began(doomed, 4)
    // What hung was that process, not its messages: the next to try has nothing to wait for.
    const other = await start({ NOTHING_HANGS: '1' })
    await other.said('ready')
    const killed = doomed.kill('SIGKILL')
    const reclaimed = await other.said('reclaimed_instance', { dead_instance: doomed.id })
    t.diagnostic(`taken back after ${reclaimed.at - killed} ms`)
    const twice = 'DONE, 2 attempts, 0 interruptions'
    const expected = {
      a1: twice,
      a2: twice,
      b1: twice,
      c1: twice,
      c2: twice,
    }
    const finished = async (): Promise<boolean> =>
      JSON.stringify(await messages()) === JSON.stringify(expected)
    await until('everything to be DONE', finished, 60_000)
    assert.deepEqual(await effects(), ['a1', 'a2'])
  })
})
