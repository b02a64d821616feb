import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Pool } from 'pg'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'
import { blocksOf, ROOT } from './markdown.ts'

/*
 * docs/migrating.md, step by step, on a real database: a poller as people write them is at work, writers never stop, and one of
 * their transactions commits late, so that the old poller loses its row.
 */
const blocks = blocksOf(readFileSync(join(ROOT, 'docs/migrating.md'), 'utf8'))
const of = (language: string): string[] =>
  blocks.filter((block) => block.language === language).map(({ text }) => text)

/** The poller of the page: rows in the order of their time, behind a cursor that a Date would cut, so it stays text. */
function oldPoller(pool: Pool) {
  const stop = new AbortController()
  const running = (async () => {
    let cursor = '-infinity'
    while (!stop.signal.aborted) {
      const { rows } = await pool.query<{ id: string; at: string }>(
        'SELECT id, created_at::text AS at FROM shop.orders WHERE created_at > $1 ORDER BY created_at LIMIT 100',
        [cursor],
      )
      for (const order of rows) {
        await pool.query('INSERT INTO shop.parcels (order_id) VALUES ($1)', [order.id])
        cursor = order.at
      }
      await sleep(20)
    }
  })()
  return {
    async stop() {
      stop.abort()
      await running
    },
  }
}

/** Orders, one after the other, until it is told to stop. */
function shoppers(pool: Pool) {
  const stop = new AbortController()
  const running = (async () => {
    while (!stop.signal.aborted) {
      await pool.query('INSERT INTO shop.orders DEFAULT VALUES')
      await sleep(10)
    }
  })()
  return {
    async stop() {
      stop.abort()
      await running
    },
  }
}

test('a hand-written poller is replaced while orders come in: every order has one parcel, those too that it lost', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(`
    CREATE SCHEMA shop;
    CREATE TABLE shop.orders (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON shop.orders (created_at, id);
    CREATE TABLE shop.parcels (order_id uuid NOT NULL);
    INSERT INTO shop.orders (created_at) SELECT now() - interval '3 hours' FROM generate_series(1, 5)`)
  const { rows: times } = await pool.query<{ at: string }>(
    `SELECT to_char(now() AT TIME ZONE 'UTC' - interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at`,
  )
  const startFrom = times[0]?.at ?? ''
  const filled = (text = ''): string => text.replaceAll('2026-01-31T12:00:00Z', startFrom)
  const [notTakenIn = '', notDone = '', doneBefore = '', lostBefore = ''] = of('sql').map(filled)
  const config = filled(of('ts')[0]).replace("every: '5s'", "every: '1s'")
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-migrating-'))
  t.after(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'tidemark.config.mjs'), config)
  const cli = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await tidemark(args, {
      env: { DATABASE_URL: database.url },
      cwd: folder,
    })
    assert.equal(code, 0, `tidemark ${args.join(' ')}: ${stdout}${stderr}`)
    return stdout
  }
  const count = async (text: string): Promise<number> => (await pool.query(text)).rowCount ?? 0

  const old = oldPoller(pool)
  const shopping = shoppers(pool)
  t.after(() => Promise.all([old.stop(), shopping.stop()]).then(() => undefined))
  await until('the old poller to be at work', async () => (await count('SELECT FROM shop.parcels')) > 20)

  // 2. The processor is known, and held.
  const alone = await startInstance(t, { databaseUrl: database.url, config, only: 'processors' })
  await alone.said('ready')
  await cli('pause', 'packing')
  alone.kill('SIGTERM')
  assert.equal((await alone.exited).code, 0)

  // 3. Both read.
  const instance = await startInstance(t, { databaseUrl: database.url, config })
  await instance.said('ready')
  const late = await database.client()
  await late.query('BEGIN')
  const { rows: lateRows } = await late.query<{ id: string }>(
    'INSERT INTO shop.orders DEFAULT VALUES RETURNING id',
  )
  const lost = lateRows[0]?.id
  const before = await count('SELECT FROM shop.parcels')
  await until(
    'the old poller to be past it',
    async () => (await count('SELECT FROM shop.parcels')) > before + 20,
  )
  await late.query('COMMIT')
  const takenIn = `SELECT FROM service_ops.integration_inbox WHERE message_id = '${lost}'`
  await until('the late order to be taken in', async () => (await count(takenIn)) === 1)

  // 4. They are compared: the inbox has all, and the late order has no parcel.
  await until('the edge to be past it', async () => {
    const { rows } = await pool.query<{ past: boolean }>(
      `SELECT edge > (SELECT created_at FROM shop.orders WHERE id = $1) AS past FROM service_ops.integration_poll_watermark`,
      [lost],
    )
    return rows[0]?.past === true
  })
  assert.equal(await count(notTakenIn), 0)
  const behind = notDone.replace("i.created_at < now() - interval '1 minute'", 'true')
  assert.notEqual(behind, notDone)
  await until('the old poller to be behind with that one alone', async () => {
    const { rows } = await pool.query<{ message_id: string }>(behind)
    return rows.length === 1 && rows[0]?.message_id === lost
  })
  assert.equal(await count(lostBefore), 0)

  // 5. The old one stops; what it did is given up; the rest is done.
  await old.stop()
  const ordersThen = await count('SELECT FROM shop.orders')
  await until(
    'orders to come in meanwhile',
    async () => (await count('SELECT FROM shop.orders')) > ordersThen + 20,
  )
  await cli('poll', 'orders')
  for (;;) {
    const { rows } = await pool.query<{ string_agg: string | null }>(doneBefore)
    const ids = rows[0]?.string_agg
    if (ids === null || ids === undefined) break
    await cli('inbox', 'discard', '--id', ids)
  }
  await cli('resume', 'packing')
  await shopping.stop()
  const without =
    'SELECT FROM shop.orders o WHERE NOT EXISTS (SELECT FROM shop.parcels p WHERE p.order_id = o.id)'
  await until('every order to have its parcel', async () => (await count(without)) === 0)
  assert.equal(await count('SELECT order_id FROM shop.parcels GROUP BY order_id HAVING count(*) > 1'), 0)
  const open = `SELECT FROM service_ops.integration_inbox WHERE status NOT IN ('DONE', 'DISCARDED')`
  await until('nothing to be left open', async () => (await count(open)) === 0)
  await cli('verify')
  instance.kill('SIGTERM')
  assert.equal((await instance.exited).code, 0)
})
