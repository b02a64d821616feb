import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/*
 * Two pollers of one process: what the first has processed is forgotten within seconds, the second's source is written by
 * somebody who sets the times. Nothing is done twice, nothing that is in the source and not forgotten is left out.
 */
test('what is finished is forgotten and never done again; what no pass could see is found by the sweep', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(`
    CREATE TABLE brief (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
    INSERT INTO brief SELECT n, now() - interval '1 hour' FROM generate_series(1, 20) n;
    CREATE TABLE dated (id int PRIMARY KEY, at timestamptz DEFAULT clock_timestamp());
    CREATE INDEX ON dated (at, id);
    CREATE TABLE effect (source text, id text)`)
  const instance = await startInstance(t, {
    databaseUrl: database.url,
    config: `
      const source = (table) => ({ table, id: 'id', createdAt: 'at' })
      export default {
        pollers: {
          brief: { source: source('brief'), every: '1s', retention: '1s', sweep: '1s', startFrom: 'beginning' },
          dated: { source: source('dated'), every: '1s', sweep: '1s' },
        },
        processors: { work: { from: ['brief', 'dated'], contract: 'transactional',
          async handle({ source, messageId }, { tx }) {
            await tx.query('INSERT INTO effect VALUES ($1, $2)', [source, messageId])
          } } },
      }`,
  })
  await instance.said('ready')
  const effects = async (source: string): Promise<number[]> => {
    const { rows } = await pool.query<{ id: string }>('SELECT id FROM effect WHERE source = $1', [source])
    return rows.map(({ id }) => Number(id)).sort((a, b) => a - b)
  }
  const oneTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)
  const kept = async (source: string): Promise<number> => {
    const { rows } = await pool.query<{ n: number }>(
      'SELECT count(*)::int AS n FROM service_ops.integration_inbox WHERE source = $1',
      [source],
    )
    return rows[0]?.n ?? 0
  }
  const sweeps = (poller: string): number => instance.of('sweep_completed', { poller }).length
  const sweptAgain = async (poller: string): Promise<void> => {
    const before = sweeps(poller)
    // One may have been under way.
    await until(`two sweeps of ${poller}`, () => sweeps(poller) >= before + 2)
  }
  const assertSound = async (): Promise<void> => {
    const { code, stdout } = await tidemark(['verify'], { env: { DATABASE_URL: database.url } })
    assert.equal(code, 0, stdout)
  }

  await t.test(
    'finished messages are forgotten, but for the newest of all, and not taken in again',
    async () => {
      await until('20 effects', async () => (await effects('brief')).length === 20)
      // Their newest is the newest message of all until another comes in.
      await until('all but one forgotten', async () => (await kept('brief')) === 1)
      await sweptAgain('brief')
      assert.deepEqual(await effects('brief'), oneTo(20))
      assert.deepEqual(instance.of('sweep_found'), [])
      await assertSound()
    },
  )

  await t.test('a watermark that was lost then goes on without doing anything again', async () => {
    await pool.query(`DELETE FROM service_ops.integration_poll_watermark WHERE poller = 'brief'`)
    await instance.said('watermark_created', { poller: 'brief' })
    await instance.said('sweep_wanted', { poller: 'brief', reason: 'the watermark row was missing' })
    await sweptAgain('brief')
    await pool.query('INSERT INTO brief VALUES (21)')
    await until('the new effect', async () => (await effects('brief')).length >= 21)
    assert.deepEqual(await effects('brief'), oneTo(21))
    await assertSound()
  })

  await t.test(
    'rows dated behind the edge, or not at all, are found and said once; not those older than what is forgotten',
    async () => {
      await pool.query('INSERT INTO dated VALUES (1)')
      await until('an edge behind which rows can be', async () => {
        const { rows } = await pool.query(
          `SELECT FROM service_ops.integration_poll_watermark w, dated d WHERE w.poller = 'dated' AND w.edge > d.at`,
        )
        return rows.length === 1
      })
      await pool.query(
        `UPDATE service_ops.background_task SET forgotten_before = now() - interval '7 days' WHERE task_name = 'dated'`,
      )
      await pool.query(
        `INSERT INTO dated VALUES (2, now() - interval '1 day'), (3, now() - interval '6 days'), (4, NULL), (5, now() - interval '5 years')`,
      )
      await until('their effects', async () => (await effects('dated')).length >= 4)
      await sweptAgain('dated')
      assert.deepEqual(await effects('dated'), oneTo(4))
      const found = instance.of('sweep_found', { poller: 'dated' })
      assert.deepEqual(
        found.map(({ rows }) => Number(rows)).reduce((sum, rows) => sum + rows, 0),
        3,
      )
      assert.match(found[0]?.msg ?? '', /3 rows of public\.dated .*lateness.*without a time: 1/)
      const { rows } = await pool.query(
        `SELECT sweep_found_total FROM service_ops.sweep_status WHERE poller = 'dated'`,
      )
      assert.deepEqual(rows, [{ sweep_found_total: '3' }])
      await assertSound()
    },
  )
  assert.deepEqual(instance.of('loop_failed'), [])
  assert.deepEqual(instance.of('poll_failed'), [])
})
