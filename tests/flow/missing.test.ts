import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

const CONFIG = `export default {
  pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } },
  processors: { reader: { from: 'arrivals', contract: 'transactional', async handle({ messageId }, { tx }) {
    await tx.query('INSERT INTO effect VALUES ($1)', [messageId])
  } } },
}`

const LOAD_EVERY_MS = 25

/** Often, so that the test sees two of them soon: each would say again what is said once. */
const BEAT = { LEADER_HEARTBEAT_SECONDS: '0.5' }

const COMMAND = 'tidemark migrate --repair'

test('tables dropped under load are named once each, and work goes on by itself after the repair', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(
    `CREATE TABLE arrival (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
     CREATE TABLE effect (message_id text)`,
  )
  const one = await startInstance(t, { databaseUrl: database.url, config: CONFIG, env: BEAT })
  await one.said('ready')
  const load = setInterval(() => void pool.query('INSERT INTO arrival DEFAULT VALUES'), LOAD_EVERY_MS)
  t.after(() => clearInterval(load))
  const number = async (text: string, values: unknown[] = []): Promise<number> =>
    Number((await pool.query<{ n: string }>(text, values)).rows[0]?.n)
  const beats = () =>
    number(
      `SELECT extract(epoch FROM last_seen_at) AS n FROM service_ops.runner_instance WHERE instance_id = $1`,
      [one.id],
    )
  const afterBeats = async (count: number) => {
    for (let i = 0; i < count; i += 1) {
      const before = await beats()
      await until('a heartbeat', async () => (await beats()) > before)
    }
  }
  const newestTerm = () =>
    number(`SELECT max(term) AS n FROM service_ops.leader_change WHERE task_name = 'arrivals'`)
  /** A row that is written now is processed. */
  const works = async (what: string) => {
    const { rows } = await pool.query<{ id: string }>('INSERT INTO arrival DEFAULT VALUES RETURNING id')
    const effect = () => pool.query('SELECT FROM effect WHERE message_id = $1', [rows[0]?.id])
    await until(`a fresh row to be processed after ${what}`, async () => ((await effect()).rowCount ?? 0) > 0)
  }
  const migrate = (...flags: string[]) =>
    tidemark(['migrate', ...flags], { env: { DATABASE_URL: database.url, LOG_LEVEL: 'critical' } })

  async function survives(table: string, meanwhile = async () => {}) {
    await works('the start')
    const term = await newestTerm()
    const dropped = Date.now()
    await pool.query(`DROP TABLE ${table} CASCADE`)
    const line = await one.said('table_missing', { table, command: COMMAND })
    t.diagnostic(`${table}: said ${line.at - dropped} ms after the drop`)
    assert.match(line.msg, /^CRITICAL: /)
    assert.ok(line.msg.includes(table) && line.msg.includes(`\`${COMMAND}\``), line.msg)
    await afterBeats(2)
    const [live, ready, health] = await Promise.all(
      ['live', 'ready', 'health'].map((path) => fetch(`${one.address}/${path}`)),
    )
    assert.deepEqual([live?.status, ready?.status, health?.status], [200, 503, 503])
    assert.deepEqual(await ready?.json(), { status: 'schema_incompatible' })
    await meanwhile()
    const repair = await migrate('--repair')
    assert.equal(repair.code, 0, repair.stderr)
    const repaired = Date.now()
    await one.said('table_back', { table })
    await works(`the repair of ${table}`)
    t.diagnostic(`${table}: a fresh row processed ${Date.now() - repaired} ms after the repair`)
    assert.ok((await newestTerm()) > term, 'a higher term')
    await until('it to be ready', async () => (await fetch(`${one.address}/ready`)).status === 200)
    assert.equal(one.of('table_missing', { table }).length, 1, 'said once')
  }

  const leaderTable = 'service_ops.background_task_leader'
  await survives(leaderTable, async () => {
    const plain = await migrate()
    assert.equal(plain.code, 1, 'without --repair it only names what is missing')
    assert.ok(plain.stderr.includes(leaderTable) && plain.stderr.includes(COMMAND), plain.stderr)
  })
  await survives('service_ops.integration_poll_watermark')
  const [remade] = one.of('watermark_created').slice(-1)
  assert.ok(remade?.['edge'] !== '-infinity', 'made again at an edge of the ledger')

  const ledger = await pool.query<{ edge: string }>(
    'SELECT max(edge)::text AS edge FROM service_ops.poll_run',
  )
  const created = one.of('watermark_created').length
  await pool.query('DELETE FROM service_ops.integration_poll_watermark')
  const row = await until('the row to be made again', () => one.of('watermark_created')[created])
  assert.equal(row['level'], 'warn')
  const { rows } = await pool.query<{ ok: boolean }>('SELECT $1::timestamptz >= $2::timestamptz AS ok', [
    row['edge'],
    ledger.rows[0]?.edge,
  ])
  assert.ok(
    rows[0]?.ok,
    `the last edge of the ledger or a later one: ${JSON.stringify([row['edge'], ledger.rows])}`,
  )
  await works('the loss of the row')
  assert.equal(one.of('watermark_created').length, created + 1, 'said once')

  // Until here every message was kept, so each is processed, and once.
  clearInterval(load)
  await until(
    'every row to be processed',
    async () =>
      (await number(
        'SELECT count(*) AS n FROM arrival a WHERE NOT EXISTS (SELECT FROM effect e WHERE e.message_id = a.id::text)',
      )) === 0,
    120_000,
  )
  assert.equal(await number('SELECT count(*) - count(DISTINCT message_id) AS n FROM effect'), 0, 'none twice')

  await survives('service_ops.integration_inbox')
  assert.ok(
    (await number('SELECT min(inbox_id) AS n FROM service_ops.integration_inbox')) > 1e9,
    'numbers go on above the old ones',
  )
  assert.deepEqual(
    one.lines.filter((line) => line['level'] === 'critical').map((line) => line['table']),
    [
      'service_ops.background_task_leader',
      'service_ops.integration_poll_watermark',
      'service_ops.integration_inbox',
    ],
  )
  assert.equal((await migrate('--status')).code, 0)
})
