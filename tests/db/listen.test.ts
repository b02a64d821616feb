import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { listen } from '../../src/db/listen.ts'
import type { ListenOptions, Listener } from '../../src/db/listen.ts'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import { relay } from '../support/relay.ts'

interface Heard {
  readonly notes: string[]
  readonly ups: (number | null)[]
  readonly downs: unknown[]
}

function start(
  t: Scope,
  url: string,
  options: Partial<ListenOptions> = {},
): { heard: Heard; listener: Listener } {
  const heard: Heard = { notes: [], ups: [], downs: [] }
  const listener = listen(
    { url },
    {
      applicationName: 'ears',
      channels: ['wake'],
      onNotify: (channel, payload) => void heard.notes.push(`${channel}:${payload}`),
      onUp: ({ afterMs }) => void heard.ups.push(afterMs),
      onDown: (error) => void heard.downs.push(error),
      backoffMs: 10,
      ...options,
    },
  )
  t.after(() => listener.close())
  return { heard, listener }
}

const END_EARS = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ears'`

describe('listening', () => {
  test('hears what is notified after onUp, on every channel, with odd names too', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const { heard, listener } = start(t, database.url, { channels: ['wake', 'Odd "one"'] })
    await until('the first up', () => heard.ups.length === 1)
    assert.deepEqual(heard.ups, [null])
    const client = await database.client()
    await client.query(`SELECT pg_notify('wake', 'a'), pg_notify('Odd "one"', 'b'), pg_notify('other', 'c')`)
    await until('two notes', () => heard.notes.length === 2)
    assert.deepEqual(heard.notes, ['wake:a', 'Odd "one":b'])

    listener.add('other')
    listener.remove('wake')
    // Each is a statement of its own, and notes may come before both or between them. Those of one round come together, in
    // order, so that one channel's note alone tells.
    let round = 0
    await until('the new channel alone to be heard', async () => {
      round += 1
      await client.query(`SELECT pg_notify('wake', $1), pg_notify('other', $1)`, [`${round}`])
      const rounds = Array.from({ length: round }, (_, i) => i + 1)
      return rounds.some((n) => heard.notes.includes(`other:${n}`) && !heard.notes.includes(`wake:${n}`))
    })
  })

  test('connects again after its backend was ended, listens again, and says so once', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const { heard } = start(t, database.url)
    await until('the first up', () => heard.ups.length === 1)
    const client = await database.client()
    await client.query(END_EARS)
    await until('the second up', () => heard.ups.length === 2)
    assert.equal(heard.downs.length, 1)
    assert.equal(typeof heard.ups[1], 'number')
    await client.query(`NOTIFY wake, 'again'`)
    await until('the note', () => heard.notes.includes('wake:again'))
  })

  test('a heartbeat notices a connection that is half open, and close does not wait for it', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const way = await relay(t, database.url)
    await way.open()
    const { heard, listener } = start(t, way.url, { heartbeatMs: 20, timeoutMs: 1_000 })
    await until('the first up', () => heard.ups.length === 1)
    // A first try that took too long is an outage of its own.
    const before = heard.downs.length
    way.freeze()
    await until('the outage', () => heard.downs.length === before + 1)
    await listener.close()
    const client = await database.client()
    await client.query(END_EARS)
  })

  test('the session of a connection that was lost without a word is ended by the next one', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const way = await relay(t, database.url)
    await way.open()
    const { heard } = start(t, way.url, { heartbeatMs: 20, timeoutMs: 1_000 })
    await until('the first up', () => heard.ups.length === 1)
    const client = await database.client()
    const sessions = async () =>
      (
        await client.query<{ pid: number }>(
          `SELECT pid FROM pg_stat_activity WHERE application_name = 'ears' AND datname = current_database()`,
        )
      ).rows.map(({ pid }) => pid)
    const before = await sessions()
    assert.ok(way.freezeListeners() > 0 && before.length > 0)
    await until('the next up', () => heard.ups.length > 1)
    await until('the former to be gone', async () => !(await sessions()).some((pid) => before.includes(pid)))
  })

  test('a callback that throws costs a reconnect, not the process', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    let threw = 0
    const { heard } = start(t, database.url, {
      onNotify: () => {
        threw += 1
        throw new Error('broken callback')
      },
    })
    await until('the first up', () => heard.ups.length === 1)
    const client = await database.client()
    await client.query(`NOTIFY wake, 'x'`)
    await until('the second up', () => heard.ups.length === 2)
    assert.equal(threw, 1)
    assert.match(String(heard.downs[0]), /broken callback/)
  })

  test('a database that is not there is one outage, and close ends the tries', async (t) => {
    let tries = 0
    const { heard, listener } = start(t, 'postgres://u:p@127.0.0.1:1/none', {
      backoffMs: 1,
      onDown: () => {
        tries += 1
        throw new Error('broken callback')
      },
    })
    await until('the outage', () => tries > 0)
    await Promise.all([listener.close(), listener.close()])
    assert.equal(tries, 1)
    assert.deepEqual(heard.ups, [])
  })
})
