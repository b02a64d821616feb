import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, test } from 'node:test'
import { openClient } from '../../src/db/connection.ts'
import { errorClass, isConnectionError, isRetryable, sqlState } from '../../src/db/sqlstate.ts'
import { createDatabase } from '../support/database.ts'

const limits = { statementTimeoutMs: 0, lockTimeoutMs: 0, idleInTransactionMs: 0 }

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => assert.fail('it succeeded'),
    (error: unknown) => error,
  )
}

describe('classes of errors', () => {
  test('the server names what it refuses', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    const classes: Record<string, string> = {
      'SELECT * FROM nowhere': 'missing_table',
      'SELECT * FROM nowhere.nothing': 'missing_table',
      'SELECT nothing': 'missing_column',
      'SELECT nothing()': 'missing_function',
      "SELECT 'x'::int": 'data',
      'SET statement_timeout = 10; SELECT pg_sleep(5)': 'timeout',
      'SELEC 1': 'other',
    }
    for (const [text, expected] of Object.entries(classes)) {
      assert.equal(errorClass(await failureOf(client.query(text))), expected, text)
    }
  })

  test('a wrapped error keeps its class and its SQLSTATE', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    const error = await failureOf(client.query(`DO $$ BEGIN RAISE 'again' USING ERRCODE = '40P01'; END $$`))
    const wrapped = new Error('outer', { cause: new Error('middle', { cause: error }) })
    assert.equal(sqlState(wrapped), '40P01')
    assert.equal(errorClass(wrapped), 'deadlock')
    assert.ok(isRetryable(wrapped))
  })

  test('a port on which nobody listens is a connection error, on one address or on several', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    for (const host of ['127.0.0.1', 'localhost']) {
      const url = `postgres://u:p@${host}:${port}/d`
      const error = await failureOf(
        openClient({ url, applicationName: 't', connectTimeoutMs: 2_000, limits }),
      )
      assert.equal(errorClass(error), 'connection', host)
    }
    const none = new AggregateError([Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })], '')
    assert.ok(isConnectionError(none))
  })

  test('a backend that is ended is a connection error, and so is every later use of the connection', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    assert.ok(
      isConnectionError(await failureOf(client.query('SELECT pg_terminate_backend(pg_backend_pid())'))),
    )
    assert.ok(isConnectionError(await failureOf(client.query('SELECT 1'))))
  })

  test('what has nothing to do with the database is other, even when its causes go in a circle', () => {
    const circle = new Error('circle')
    circle.cause = circle
    assert.equal(errorClass(circle), 'other')
    assert.equal(errorClass('text'), 'other')
    assert.equal(sqlState(Object.assign(new Error('x'), { code: 'EPERM' })), undefined)
  })
})
