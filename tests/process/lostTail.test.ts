import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { Client, Pool } from 'pg'
import { sqlState } from '../../src/db/sqlstate.ts'
import { LowWater } from '../../src/process/lowWater.ts'
import { claimMessages, writeDone } from '../../src/tables/inbox.ts'
import { raiseLowWater, readLowWater } from '../../src/tables/lowWater.ts'
import { createDatabase, migrateForTest } from '../support/database.ts'
import { useServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { processorOn, programPool, SOURCE } from './fixture.ts'

/*
 * The inbox loses its end under a running process, and gives the numbers again: to a replica that lagged when it took
 * over, to a crash while commits do not wait for the disk, to a person.
 */

const send = (pool: Pool, ...messageIds: readonly string[]) =>
  pool.query(
    `INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id) SELECT $1, u, '{}', u FROM unnest($2::text[]) u`,
    [SOURCE, messageIds],
  )

const numbered = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`)

/** What a processor does, step by step: claims from the mark and finishes what it got, then looks. */
class Reader {
  readonly low: LowWater
  readonly #pool: Pool
  constructor(pool: Pool) {
    this.#pool = pool
    this.low = new LowWater(pool, [SOURCE])
  }

  async claim(): Promise<string[]> {
    const request = {
      sources: [SOURCE],
      instanceId: 'one',
      limit: 1_000,
      maxAttempts: 3,
      maxBytes: 1_000_000,
    }
    const rows = await claimMessages(this.#pool, { ...request, low: await this.low.low() })
    for (const row of rows) this.low.claimed(BigInt(row.inbox_id))
    const claims = rows.map((row) => ({ inboxId: row.inbox_id, claim: row.claim }))
    await writeDone(this.#pool, 'one', claims)
    return rows.map((row) => row.message_id)
  }

  async look(times = 1): Promise<void> {
    for (let i = 0; i < times; i += 1) await this.low.look()
  }
}

const head = async (pool: Pool): Promise<number> =>
  Number(await one(pool, 'SELECT max(inbox_id) AS value FROM service_ops.integration_inbox'))

const keptMarks = async (pool: Pool): Promise<string[]> =>
  (await pool.query<{ low: string }>('SELECT low FROM service_ops.inbox_low_water')).rows.map(
    ({ low }) => low,
  )

const loseTail = (pool: Pool, from: number) =>
  pool.query(
    `DELETE FROM service_ops.integration_inbox WHERE inbox_id >= ${from};
     SELECT setval('service_ops.integration_inbox_inbox_id_seq', ${from}, false)`,
  )

interface ForgetfulServer {
  readonly url: string
  readonly pool: Pool
  /** Crashes and recovers without what was committed during `work`. */
  readonly forget: (work: () => Promise<void>) => Promise<void>
}

/** A server whose commits wait for no disk, and which writes to it only when asked. */
async function forgetfulServer(t: TestContext): Promise<ForgetfulServer> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-tail-'))
  const settings = {
    max_connections: '30',
    synchronous_commit: 'off',
    autovacuum: 'off',
    bgwriter_lru_maxpages: '0',
  }
  const server = await useServer(folder, { durable: false, settings })
  t.after(async () => {
    await server.leave()
    rmSync(folder, { recursive: true, force: true })
  })
  await migrateForTest(server.url)
  const pool = new Pool({ connectionString: server.url })
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  t.after(() => pool.end())
  return {
    url: server.url,
    pool,
    async forget(work) {
      await pool.query('CHECKPOINT')
      const writer = await one<number>(
        pool,
        `SELECT pid AS value FROM pg_stat_activity WHERE backend_type = 'walwriter'`,
      )
      process.kill(writer, 'SIGSTOP')
      try {
        await work()
        // The server cannot recover before this one has ended too.
        await crash(server.url, pool, () => process.kill(writer, 'SIGCONT'))
      } catch (error) {
        process.kill(writer, 'SIGCONT')
        throw error
      }
    },
  }
}

const CANNOT_CONNECT_NOW = '57P03'

/** Why a new connection is refused; undefined when it is not. */
async function refusal(url: string): Promise<string | undefined> {
  const client = new Client({ connectionString: url })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return undefined
  } catch (error) {
    return sqlState(error) ?? 'no answer'
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** Ends a backend by force: the server throws all others out and recovers from its disk. It does not start anew. */
async function crash(url: string, pool: Pool, onOut: () => void): Promise<void> {
  const started = 'SELECT pg_postmaster_start_time()::text AS value'
  const before = await one<string>(pool, started)
  process.kill(await one<number>(pool, 'SELECT pg_backend_pid() AS value'), 'SIGKILL')
  // A broken connection only tells of the backend's end; a refused one that all others have been told to end as well.
  await until('the server to throw everybody out', async () => (await refusal(url)) === CANNOT_CONNECT_NOW)
  onOut()
  await until('the server to recover', async () => (await refusal(url)) === undefined)
  assert.equal(await one<string>(pool, started), before, 'by its start time it is the same server')
}

async function one<T>(pool: Pool, query: string): Promise<T> {
  const [row] = (await pool.query<{ value: T }>(query)).rows
  if (row === undefined) throw new Error(`no row: ${query}`)
  return row.value
}

describe('numbers that are given again', () => {
  test('after a crash, above what the disk had, are claimed by the process that goes on', async (t) => {
    const { pool, forget } = await forgetfulServer(t)
    const reader = new Reader(pool)
    await send(pool, ...numbered('first', 5))
    await reader.claim()
    await reader.look(3)
    await forget(async () => {
      await send(pool, ...numbered('lost', 100))
      await reader.claim()
      await reader.look(3)
      assert.equal(reader.low.settled, '105')
    })
    assert.equal(await head(pool), 5, 'the disk has nothing of the others')

    // As many as take the head above all that this process has seen: no number gives it away.
    const again = numbered('again', 200)
    await send(pool, ...again)
    assert.ok((await head(pool)) > 105)
    await assert.rejects(reader.look(), /DatabaseWentBack/)
    assert.deepEqual(await reader.claim(), again)
    await reader.look(3)
    assert.equal(Number(reader.low.settled), await head(pool))
  })

  test('by hand, on the same server, are claimed when the head is below what was seen', async (t) => {
    const pool = (await createDatabase(t)).pool()
    const reader = new Reader(pool)
    await send(pool, ...numbered('first', 100))
    await reader.claim()
    await reader.look(3)
    await loseTail(pool, 51)
    const again = numbered('again', 20)
    await send(pool, ...again)
    await assert.rejects(reader.look(), /DatabaseWentBack/)
    assert.deepEqual(await reader.claim(), again)
    await reader.look(3)
    assert.equal(reader.low.settled, '70')
  })

  test('are claimed by a process that starts, which takes the mark above them back', async (t) => {
    const pool = (await createDatabase(t)).pool()
    await send(pool, ...numbered('first', 100))
    await new Reader(pool).claim()
    await pool.query(`INSERT INTO service_ops.inbox_low_water (source, low) VALUES ('${SOURCE}', 100)`)
    await loseTail(pool, 51)
    const again = numbered('again', 80)
    await send(pool, ...again.slice(0, 20))
    const reader = new Reader(pool)
    assert.deepEqual(await reader.claim(), again.slice(0, 20))
    // Above the old mark: nothing tells any more that it is wrong, so it must be gone by now.
    await send(pool, ...again.slice(20))
    assert.deepEqual(await new Reader(pool).claim(), again.slice(20))
  })
})

test('a message whose DONE was lost in a crash is run again, though its claim is still ours', async (t) => {
  const { url, pool, forget } = await forgetfulServer(t)
  const go = Promise.withResolvers<undefined>()
  let runs = 0
  const handle = async (): Promise<void> => {
    runs += 1
    await go.promise
  }
  const processor = processorOn(t, programPool(t, url), { kind: 'external', handle })
  await send(pool, 'm')
  processor.start()
  await until('it to run', () => runs === 1)
  await forget(async () => {
    go.resolve(undefined)
    await until('it to be done', () => processor.state.finished === 1)
  })
  const fate = `SELECT status || ' ' || attempts || ' +' || interruptions AS value FROM service_ops.integration_inbox`
  await until('it to be done again', async () => (await one<string>(pool, fate)) === 'DONE 1 +1')
  assert.equal(runs, 2)
})

test('a mark is kept only where it was proven', async (t) => {
  const pool = (await createDatabase(t)).pool()
  await send(pool, ...numbered('m', 9))
  const { boot } = await readLowWater(pool, [SOURCE])
  await raiseLowWater(pool, [SOURCE], '9', `${boot} of another server`)
  assert.deepEqual(await keptMarks(pool), [])
  await raiseLowWater(pool, [SOURCE], '9', boot)
  assert.deepEqual(await keptMarks(pool), ['9'])
})
