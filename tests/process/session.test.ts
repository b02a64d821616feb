import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { until } from '../support/until.ts'
import { inbox, processorOn, programPool } from './fixture.ts'

describe('a transactional handler', () => {
  test('that changes its session changes nobody else’s: settings and locks end with its message', async (t) => {
    const { url, sql, send, become, effects } = await inbox(t)
    await sql.query('CREATE SCHEMA tenant; CREATE TABLE tenant.effect (message_id text)')
    const processor = processorOn(
      t,
      programPool(t, url),
      {
        kind: 'transactional',
        async handle({ messageId }, { tx }) {
          if (messageId === 'a') await tx.query('SET search_path TO tenant')
          if (messageId === 'b') await tx.query('SELECT pg_advisory_lock(42)')
          else await tx.query('INSERT INTO effect VALUES ($1)', [messageId])
        },
      },
      { concurrency: 1 },
    )
    await send('a', 'b', 'c', 'd', 'e')
    processor.start()
    await become({ a: 'DONE 1', b: 'DONE 1', c: 'DONE 1', d: 'DONE 1', e: 'DONE 1' })
    assert.deepEqual(await effects(), ['c', 'd', 'e'])
    const { rows } = await sql.query('SELECT message_id FROM tenant.effect')
    assert.deepEqual(rows, [{ message_id: 'a' }])
    const free = 'SELECT FROM (SELECT pg_try_advisory_xact_lock(42) AS free) l WHERE free'
    await until('the lock to be free', async () => (await sql.query(free)).rowCount === 1)
  })

  test('that does so behind comments is seen to', async (t) => {
    const { url, send, become } = await inbox(t)
    const zones: string[] = []
    const processor = processorOn(
      t,
      programPool(t, url),
      {
        kind: 'transactional',
        async handle(_message, { tx }) {
          const { rows } = await tx.query<{ zone: string }>(`SELECT current_setting('TimeZone') AS zone`)
          zones.push(rows[0]?.zone ?? '')
          await tx.query(`/* ours **/ -- ${'-'.repeat(200)}\n SET TimeZone = 'Asia/Tokyo'`)
        },
      },
      { concurrency: 1 },
    )
    // More than there are connections: some serve twice.
    const ids = Array.from({ length: 12 }, (_, i) => `${i}`)
    await send(...ids)
    processor.start()
    await become(Object.fromEntries(ids.map((id) => [id, 'DONE 1'])))
    assert.ok(!zones.includes('Asia/Tokyo'), zones.join())
  })

  test('that forgets what is prepared has had its connection to itself', async (t) => {
    const { url, send, become } = await inbox(t)
    const backends: number[] = []
    const processor = processorOn(
      t,
      programPool(t, url),
      {
        kind: 'transactional',
        async handle(_message, { tx }) {
          const { rows } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
          backends.push(rows[0]?.pid ?? 0)
          await tx.query('DEALLOCATE ALL')
        },
      },
      { concurrency: 1 },
    )
    // More than there are connections.
    const ids = Array.from({ length: 12 }, (_, i) => `${i}`)
    await send(...ids)
    processor.start()
    await become(Object.fromEntries(ids.map((id) => [id, 'DONE 1'])))
    assert.equal(new Set(backends).size, 12)
  })

  test('that would end the transaction itself fails, caught or not, and nothing of it stands', async (t) => {
    const { url, send, become, effects, lastErrors } = await inbox(t)
    const ways: Readonly<Record<string, readonly string[]>> = {
      rollback: ['ROLLBACK'],
      chain: ['ROLLBACK AND CHAIN'],
      second: ['ROLLBACK; BEGIN'],
      committed: ['COMMIT'],
      caught: ['COMMIT', 'BEGIN'],
    }
    const processor = processorOn(
      t,
      programPool(t, url),
      {
        kind: 'transactional',
        async handle({ messageId }, { tx }) {
          const write = () => tx.query('INSERT INTO effect VALUES ($1)', [messageId])
          await write()
          for (const statement of ways[messageId] ?? []) {
            if (messageId === 'caught') await (async () => tx.query(statement))().catch(() => undefined)
            else await tx.query(statement)
          }
          await write()
        },
      },
      { maxAttempts: 2 },
    )
    await send(...Object.keys(ways))
    processor.start()
    await become(Object.fromEntries(Object.keys(ways).map((way) => [way, 'DEAD 2'])))
    assert.deepEqual(await effects(), [])
    for (const [way, text] of Object.entries(await lastErrors()))
      assert.match(text ?? '', /^TransactionNotYours: /, way)
  })

  test('that forgets to await a failing query fails its message, not the process', async (t) => {
    const { url, send, become } = await inbox(t)
    const processor = processorOn(
      t,
      programPool(t, url),
      { kind: 'transactional', handle: (_message, { tx }) => void tx.query('SELECT 1 / 0') },
      { maxAttempts: 2 },
    )
    await send('a')
    processor.start()
    await become({ a: 'DEAD 2' })
  })

  test('that throws what PostgreSQL cannot store, or what cannot be described, holds up no other outcome', async (t) => {
    const { url, send, become } = await inbox(t)
    const odd = Object.create(Error.prototype, {
      message: {
        get() {
          throw new Error('no message')
        },
      },
    }) as Error
    const processor = processorOn(
      t,
      programPool(t, url),
      {
        kind: 'external',
        handle({ messageId }) {
          if (messageId === 'zero') throw new Error('bad byte \u0000')
          if (messageId === 'odd') throw odd
        },
      },
      { maxAttempts: 1 },
    )
    await send('zero', 'odd', 'b')
    processor.start()
    await become({ zero: 'DEAD 1', odd: 'DEAD 1', b: 'DONE 1' })
  })

  test('that breaks its own connection is not run hot: each interruption waits longer', async (t) => {
    const { url, sql, send } = await inbox(t)
    let runs = 0
    const processor = processorOn(
      t,
      programPool(t, url),
      {
        kind: 'transactional',
        async handle(_message, { tx }) {
          runs += 1
          await tx.query('SELECT pg_terminate_backend(pg_backend_pid())')
        },
      },
      { backoff: { baseMs: 3_600_000, maxMs: 3_600_000 } },
    )
    await send('a')
    processor.start()
    const waiting = `SELECT FROM service_ops.integration_inbox
      WHERE interruptions = 1 AND attempts = 0 AND next_attempt_at > now() + interval '20 min'`
    await until('the message to wait', async () => (await sql.query(waiting)).rowCount === 1)
    assert.equal(runs, 1)
  })
})
