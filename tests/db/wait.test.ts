import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { waitBeforeS, waitForDatabase } from '../../src/db/wait.ts'
import { DatabaseUnavailable } from '../../src/errors.ts'
import { createDatabase } from '../support/database.ts'
import { recordedLog } from './recordedLog.ts'
import { relay } from '../support/relay.ts'

/** Port 1 is nobody's: it refuses connections. */
const NOWHERE = 'postgres://somebody:s3cret@127.0.0.1:1/clinic'

describe('waiting for the database', () => {
  test('a database that answers and refuses is not said to be silent: the message names what is to be corrected', async (t) => {
    const { url } = await createDatabase(t, { migrated: false })
    const ways: [(address: URL) => void, string, RegExp][] = [
      [
        (address) => (address.username = 'no_such_role'),
        'authentication',
        /refused us .*check the user and the password in DATABASE_URL/,
      ],
      [
        (address) => (address.pathname = '/no_such_database'),
        'missing_database',
        /refused us .*make that database, or correct its name in DATABASE_URL/,
      ],
    ]
    for (const [change, errorClass, remedy] of ways) {
      const address = new URL(url)
      change(address)
      const wait = waitForDatabase(address.href, { attempts: 1, timeoutMs: 5_000, log: recordedLog() })
      await assert.rejects(wait, { name: 'DatabaseUnavailable', errorClass, message: remedy })
    }
  })

  test('waits 0, 2, 4, 8 and 16 s before five tries, says each failure, and gives up with host and port', async () => {
    const log = recordedLog()
    const waits: number[] = []
    const sleep = async (ms: number): Promise<void> => void waits.push(ms / 1_000)
    const error = await waitForDatabase(NOWHERE, { attempts: 5, timeoutMs: 2_000, log, sleep }).then(
      () => assert.fail('it succeeded'),
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof DatabaseUnavailable)
    assert.match(
      error.message,
      /at 127\.0\.0\.1:1\/clinic did not answer in 5 tries \(connection: .*ECONNREFUSED/,
    )
    assert.doesNotMatch(error.message, /s3cret|somebody/)
    assert.deepEqual(waits, [2, 4, 8, 16])
    const said = log.of('database_wait')
    assert.deepEqual(
      said.map((line) => [line.attempt, line.class, line.next_wait_s]),
      [
        [1, 'connection', 2],
        [2, 'connection', 4],
        [3, 'connection', 8],
        [4, 'connection', 16],
        [5, 'connection', null],
      ],
    )
    assert.doesNotMatch(JSON.stringify(said), /s3cret/)
  })

  test('goes on as soon as a database that came up late answers', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const late = await relay(t, database.url)
    const log = recordedLog()
    await waitForDatabase(late.url, { attempts: 5, timeoutMs: 5_000, log, sleep: () => late.open() })
    assert.deepEqual(log.names, ['database_wait', 'database_ready'])
    assert.equal(log.of('database_ready')[0]?.attempt, 2)
  })

  test('a host that accepts and says nothing costs no more than the limit of a try', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const silent = await relay(t, database.url)
    await silent.open()
    silent.freeze()
    const log = recordedLog()
    const wait = waitForDatabase(silent.url, { attempts: 1, timeoutMs: 100, log })
    await assert.rejects(wait, DatabaseUnavailable)
    assert.equal(log.of('database_wait')[0]?.class, 'connection')
  })

  test('an abort ends the wait between two tries with its reason', async () => {
    const abort = new AbortController()
    const reason = new Error('stopped')
    const sleep = async (): Promise<void> => {
      abort.abort(reason)
    }
    const { signal } = abort
    const wait = waitForDatabase(NOWHERE, {
      attempts: 5,
      timeoutMs: 2_000,
      log: recordedLog(),
      signal,
      sleep,
    })
    await assert.rejects(wait, reason)
  })

  test('its own wait ends with the abort too', async () => {
    const abort = new AbortController()
    const reason = new Error('stopped')
    const log = { event: () => void setImmediate(() => abort.abort(reason)) }
    const wait = waitForDatabase(NOWHERE, { attempts: 5, timeoutMs: 2_000, log, signal: abort.signal })
    await assert.rejects(wait, reason)
  })

  test('more tries wait 30 s at most', () => {
    assert.deepEqual([1, 2, 5, 6, 50].map(waitBeforeS), [0, 2, 16, 30, 30])
  })
})
