import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

const configOf = (table: string): string => `export default {
  pollers: { letters: { source: { table: '${table}', id: 'id', createdAt: 'at' }, every: '1s', sweep: '1s', startFrom: 'beginning' } },
  processors: { work: { from: 'letters', contract: 'transactional',
    async handle({ messageId }, { tx }) { await tx.query('INSERT INTO effect VALUES ($1)', [messageId]) } } },
}`

const LEASE = { LEADER_LEASE_SECONDS: '4', LEADER_HEARTBEAT_SECONDS: '0.5' }

test('an instance that slept through a reset to another source does not lead, sweep or read the former one', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-reset-'))
  t.after(() => rm(folder, { recursive: true }))
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(`
    CREATE TABLE letter (id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE parcel (id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE effect (id text);
    INSERT INTO letter VALUES ('letter 1')`)
  const effects = async (): Promise<string[]> =>
    (await pool.query<{ id: string }>('SELECT id FROM effect ORDER BY 1')).rows.map(({ id }) => id)
  const start = (table: string) =>
    startInstance(t, { databaseUrl: database.url, config: configOf(table), env: LEASE })

  const former = await start('letter')
  await until('the first effect', async () => (await effects()).length === 1)
  former.kill('SIGSTOP')
  await until('its lease to be over', async () => {
    const { rows } = await pool.query(
      'SELECT FROM service_ops.background_task_leader WHERE expires_at < clock_timestamp()',
    )
    return rows.length === 1
  })
  const file = join(folder, 'tidemark.config.mjs')
  await writeFile(file, configOf('parcel'))
  const reset = await tidemark(['reset', 'letters', '--from', 'beginning', '--config', file], {
    env: { DATABASE_URL: database.url },
  })
  assert.equal(reset.code, 0, reset.stderr)
  await pool.query(`INSERT INTO letter VALUES ('letter 2'); INSERT INTO parcel VALUES ('parcel 1')`)

  former.kill('SIGCONT')
  const refused = await former.said('task_failed_to_start', { task: 'letters' })
  assert.match(refused.msg, /reads public\.letter .*made for public\.parcel/)
  // Longer than it would wait before it stands for a task again.
  await until('some heartbeats of it alone', async () => {
    const { rows } = await pool.query(
      `SELECT FROM service_ops.runner_instance WHERE last_seen_at > to_timestamp($1::double precision / 1000) + interval '5 seconds'`,
      [refused.at],
    )
    return rows.length === 1
  })
  const next = await start('parcel')
  await until('the row of the new source', async () => (await effects()).includes('parcel 1'))
  await next.said('sweep_completed')
  await pool.query(`INSERT INTO letter VALUES ('letter 3', now() - interval '1 day')`)
  const looked = former.of('sweep_completed').length
  await until('more sweeps', () => next.of('sweep_completed').length > 3)
  assert.deepEqual(await effects(), ['letter 1', 'parcel 1'])
  assert.equal(former.of('sweep_completed').length, looked, 'it sweeps no more')
  assert.equal(former.of('task_failed_to_start').length, 1, 'said once')
  assert.deepEqual(former.of('loop_failed'), [], 'nor does it stand for it, to fail as its leader')
})
