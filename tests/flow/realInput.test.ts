import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/** Waits until the poller's edge has passed every source row, so that `verify` has something to prove. */
const EDGE_PASSED = `SELECT FROM service_ops.integration_poll_watermark w
  WHERE w.poller = $1 AND w.edge > (SELECT max(created_at) FROM `

describe('a table that Tidemark did not make', () => {
  test('with 200,000 rows waiting, thousands of them at one time, ends with every row DONE once', async (t) => {
    const database = await createDatabase(t)
    const pool = database.pool()
    await pool.query(`
      CREATE SCHEMA shop;
      CREATE TABLE shop.orders (
        number bigint PRIMARY KEY, placed timestamptz NOT NULL DEFAULT clock_timestamp(), state text NOT NULL, clinic text);
      INSERT INTO shop.orders
      SELECT 9007199254740000 + i, now() - interval '1 hour' + (i / 4000) * interval '1.000001 s',
             CASE WHEN i % 41 = 0 THEN 'draft' ELSE 'placed' END, 'clinic-' || i % 50
        FROM generate_series(1, 205000) i;
      CREATE INDEX ON shop.orders (placed, number)`)
    const waiting = 200_000
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-effects-'))
    t.after(() => rm(folder, { recursive: true }))
    const effects = join(folder, 'effects')

    const instance = await startInstance(t, {
      databaseUrl: database.url,
      env: { EFFECTS: effects },
      config: `
        import { appendFileSync } from 'node:fs'
        const source = { table: 'shop.orders', id: 'number', createdAt: 'placed', groupKey: 'clinic', where: "state <> 'draft'" }
        export default {
          pollers: { orders: { source, every: '1s', pageSize: 2000 } },
          processors: { billing: { from: 'orders', concurrency: 2, batchSize: 1000, async handleBatch(messages) {
            appendFileSync(process.env.EFFECTS, messages.map(({ messageId }) => messageId + '\\n').join(''))
          } } },
        }`,
    })
    await instance.said('ready')
    const done = `SELECT count(*)::int AS n FROM service_ops.integration_inbox WHERE source = 'orders' AND status = 'DONE'`
    const isDone = async (): Promise<boolean> =>
      (await pool.query<{ n: number }>(done)).rows[0]?.n === waiting
    await until('every row to be DONE', isDone, 180_000)
    const edge = `${EDGE_PASSED}(SELECT placed AS created_at FROM shop.orders) o)`
    await until('the edge to pass', async () => (await pool.query(edge, ['orders'])).rowCount === 1)

    const ids = (await readFile(effects, 'utf8')).trimEnd().split('\n')
    assert.deepEqual([ids.length, new Set(ids).size], [waiting, waiting], 'each row took effect once')
    const { rows } = await pool.query(
      `SELECT status, attempts, interruptions, claim, count(*)::int AS n FROM service_ops.integration_inbox GROUP BY 1, 2, 3, 4`,
    )
    assert.deepEqual(rows, [{ status: 'DONE', attempts: 1, interruptions: 0, claim: 1, n: waiting }])
    // Nothing is rounded on its way: ids beyond 2^53 and microseconds.
    const { rows: changed } = await pool.query(
      `SELECT o.number FROM shop.orders o LEFT JOIN service_ops.integration_inbox i ON i.message_id = o.number::text
        WHERE o.state <> 'draft' AND (i.source_created_at IS DISTINCT FROM o.placed OR i.group_key IS DISTINCT FROM o.clinic
              OR i.payload IS DISTINCT FROM to_jsonb(o))`,
    )
    assert.deepEqual(changed, [])
    const verified = await tidemark(['verify'], { env: { DATABASE_URL: database.url } })
    assert.equal(verified.code, 0, verified.stdout)
    assert.deepEqual(instance.of('poll_failed'), [])
  })

  test('with uuid or text ids, NULL times, and payloads that are no JSON, loses nothing and says what it refused', async (t) => {
    const database = await createDatabase(t)
    const pool = database.pool()
    // Times of two kinds: were all whole milliseconds by chance, they would be taken for those of a client's clock.
    await pool.query(`
      CREATE TABLE visits (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), seen timestamptz DEFAULT clock_timestamp(), note text);
      INSERT INTO visits (seen, note) SELECT now() - interval '10 min' + (i % 3) * interval '1 us', 'n' || i FROM generate_series(1, 300) i;
      INSERT INTO visits (seen, note) SELECT NULL, 'undated' FROM generate_series(1, 5);
      CREATE TABLE "Letters" ("Key" text PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), body text);
      INSERT INTO "Letters" SELECT repeat('ü', i % 5) || '-' || i, now() - interval '5 min' + (i % 2) * interval '1 us', '{"n":' || i || '}' FROM generate_series(1, 300) i;
      UPDATE "Letters" SET body = 'not json' WHERE "Key" LIKE '%-77' OR "Key" LIKE '%-78';
      UPDATE "Letters" SET body = '{"n":"\\u0000"}' WHERE "Key" LIKE '%-150';
      CREATE TABLE effect (source text, message_id text)`)
    const instance = await startInstance(t, {
      databaseUrl: database.url,
      config: `
        const handle = async ({ source, messageId }, { tx }) => {
          await tx.query('INSERT INTO effect VALUES ($1, $2)', [source, messageId])
        }
        export default {
          pollers: {
            visits: { source: { table: 'visits', id: 'id', createdAt: 'seen', payload: ['note'] }, every: '1s' },
            letters: { source: { table: '"Letters"', id: 'Key', createdAt: 'at', payload: 'body' }, every: '1s', pageSize: 100 },
          },
          processors: { reader: { from: ['visits', 'letters'], contract: 'transactional', concurrency: 4, handle } },
        }`,
    })
    await instance.said('ready')
    const counts = async () => {
      const { rows } = await pool.query<{ source: string; status: string; n: number }>(
        `SELECT source, status, count(*)::int AS n FROM service_ops.integration_inbox GROUP BY 1, 2 ORDER BY 1, 2`,
      )
      return rows.map(({ source, status, n }) => `${source} ${status} ${n}`)
    }
    // Rows without a time have no place in the order of a pass: the sweep takes them in, seconds after the start.
    const expected = ['letters DEAD 3', 'letters DONE 297', 'visits DONE 305']
    await until(
      'every row, those without a time too',
      async () => (await counts()).join() === expected.join(),
      120_000,
    )
    for (const [poller, rows] of [
      ['visits', '(SELECT seen AS created_at FROM visits) v)'],
      ['letters', '(SELECT at AS created_at FROM "Letters") l)'],
    ] as const)
      await until(
        `the edge of ${poller} to pass`,
        async () => (await pool.query(EDGE_PASSED + rows, [poller])).rowCount === 1,
      )

    assert.deepEqual(
      instance.of('sweep_found').map(({ poller, rows, undated }) => ({ poller, rows, undated })),
      [{ poller: 'visits', rows: 5, undated: 5 }],
    )
    const { rows: dead } = await pool.query<{ message_id: string; last_error: string; payload: unknown }>(
      `SELECT message_id, last_error, payload FROM service_ops.integration_inbox WHERE status = 'DEAD' ORDER BY inbox_id`,
    )
    assert.deepEqual(dead.map(({ message_id }) => message_id.replace(/^ü*/, '')).sort(), [
      '-150',
      '-77',
      '-78',
    ])
    for (const { last_error, payload } of dead) {
      assert.match(last_error, /^\[22\w{3}\] /, 'the reason begins with its SQLSTATE')
      assert.equal(payload, null)
    }
    assert.equal(instance.of('row_refused', { poller: 'letters' }).length, 3)
    const { rows: effects } = await pool.query(
      `SELECT source, count(*)::int AS n, count(DISTINCT message_id)::int AS distinct FROM effect GROUP BY 1 ORDER BY 1`,
    )
    assert.deepEqual(effects, [
      { source: 'letters', n: 297, distinct: 297 },
      { source: 'visits', n: 305, distinct: 305 },
    ])
    const verified = await tidemark(['verify'], { env: { DATABASE_URL: database.url } })
    assert.equal(verified.code, 0, verified.stdout)
  })
})
