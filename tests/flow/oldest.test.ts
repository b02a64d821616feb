import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Client } from 'pg'
import { sqlPath } from '../../src/db/folder.ts'
import { OLDEST_MAJOR } from '../../src/db/serverVersion.ts'
import { sqlState } from '../../src/db/sqlstate.ts'
import { splitStatements } from '../../src/db/statements.ts'
import type { Examined } from '../../src/doctor/examine.ts'
import { tidemark } from '../cli/tidemark.ts'
import { startInstance } from '../support/instance.ts'
import { programsOf } from '../support/postgres.ts'
import { applyRoles } from '../support/roles.ts'
import type { Scope } from '../support/scope.ts'
import { throwawayServer } from '../support/server.ts'
import { until } from '../support/until.ts'

/*
 * The short form of `npm test -- --postgres 13` and of TIDEMARK_TEST_ROLE=runner, which run everything: the whole line on the
 * oldest server that is supported, migrated by the owner, worked by the runner and read by the reader of sql/roles.sql.
 */

const missing = await Promise.all([OLDEST_MAJOR, OLDEST_MAJOR - 1].map(programsOf)).then(
  () => false as const,
  (error: unknown) => `PostgreSQL ${OLDEST_MAJOR} could not be installed: ${String(error)}`,
)
/** Where everything has to be there, it fails instead. */
const skip = process.env['TIDEMARK_CI'] === undefined && missing

const CONFIG = `export default {
  pollers: { orders: { source: { table: 'shop.orders', id: 'id', createdAt: 'at', groupKey: 'tenant' }, every: '1s' } },
  processors: { packing: { from: 'orders', contract: 'transactional', slots: { perKey: 1 }, ordered: true,
    async handle({ messageId, groupKey }, { tx }) {
      await tx.query('INSERT INTO shop.parcel (order_id, tenant) VALUES ($1, $2)', [messageId, groupKey])
    } } },
  jobs: { nightly: { cron: '0 3 * * *', handle() {} } },
}`

const TABLES = `
  CREATE SCHEMA shop;
  CREATE TABLE shop.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text NOT NULL, at timestamptz NOT NULL DEFAULT now());
  CREATE INDEX ON shop.orders (at, id);
  CREATE TABLE shop.parcel (turn bigint GENERATED ALWAYS AS IDENTITY, order_id bigint UNIQUE, tenant text)`

/** undefined_function, syntax_error. */
const UNKNOWN: ReadonlySet<string> = new Set(['42883', '42601'])

/** What operators may rely on, as docs and dashboards have it. */
const OPERATORS_ASK = [
  'SELECT * FROM service_ops.integration_poll_watermark WHERE id = 1',
  'SELECT last_created_at, last_message_id, updated_at FROM service_ops.integration_poll_watermark WHERE id = 1',
  'SELECT * FROM service_ops.background_task_leader',
  `SELECT status, COUNT(*) FROM service_ops.integration_inbox WHERE created_at > NOW() - INTERVAL '1 hour' GROUP BY status`,
  'SELECT * FROM service_ops.verify()',
  'SELECT * FROM service_ops.poller_status',
  'SELECT * FROM service_ops.processor_status',
  'SELECT * FROM service_ops.instance_status',
  'SELECT * FROM service_ops.slot_status',
  'SELECT * FROM service_ops.trace((SELECT trace_id FROM service_ops.integration_inbox LIMIT 1))',
  'SELECT * FROM service_ops.leader_change',
  'SELECT * FROM service_ops.poll_run',
]

test(`the whole line on PostgreSQL ${OLDEST_MAJOR}, by roles with the least rights`, { skip }, async (t) => {
  const server = await throwawayServer(OLDEST_MAJOR)
  t.after(() => t.after(() => server.end()))
  const admin = await connected(t, server.url)
  const { rows: version } = await admin.query<{ major: number }>(
    `SELECT current_setting('server_version_num')::integer / 10000 AS major`,
  )
  assert.equal(version[0]?.major, OLDEST_MAJOR)
  await admin.query(TABLES)
  const { owner, runner, reader } = await applyRoles(server.url, ['shop.orders'])
  await admin.query('GRANT INSERT ON shop.parcel TO tidemark_runner')

  await t.test('the owner migrates, and a second time finds nothing to do', async () => {
    const migrate = () => tidemark(['migrate'], { env: { DATABASE_URL: owner, LOG_FORMAT: 'json' } })
    for (const event of ['migrations_applied', 'migrations_skipped']) {
      const { code, stderr } = await migrate()
      assert.equal(code, 0, stderr)
      assert.match(stderr, new RegExp(`"event":"${event}"`))
    }
    // Functions and what default privileges give too much of.
    await applyRoles(server.url, ['shop.orders'])
  })

  const instance = await startInstance(t, { databaseUrl: runner, config: CONFIG })

  // Most run seldom: in an upkeep, on a page, for a verb. What is filled in at run time cannot be looked at so.
  await t.test('every statement is understood, and every function that it calls is there', async () => {
    const unknown: string[] = []
    let asked = 0
    for (const file of await readdir(sqlPath('queries'))) {
      for (const [name, text] of splitStatements(await readFile(sqlPath(`queries/${file}`), 'utf8'), file)) {
        if (text.includes(':"') || !/^(--.*\n)*(SELECT|WITH|INSERT|UPDATE|DELETE)\b/.test(text)) continue
        asked += 1
        await admin.query(`PREPARE asked AS ${text}`).then(
          () => admin.query('DEALLOCATE asked'),
          (error: unknown) => {
            if (UNKNOWN.has(sqlState(error) ?? '')) unknown.push(`${file}, ${name}: ${String(error)}`)
          },
        )
      }
    }
    assert.ok(asked > 100)
    assert.deepEqual(unknown, [])
  })

  await t.test('the runner takes in, claims by slots and order, and processes each once', async () => {
    await instance.said('task_started_as_leader', { task: 'orders' })
    for (let wave = 0; wave < 5; wave += 1)
      await admin.query(
        `INSERT INTO shop.orders (tenant) SELECT 'tenant ' || i % 3 FROM generate_series(1, 20) i`,
      )
    await until('the parcels', async () => {
      const { rows } = await admin.query<{ n: number }>('SELECT count(*)::int AS n FROM shop.parcel')
      return rows[0]?.n === 100
    })
    const { rows } = await admin.query(
      `SELECT FROM (SELECT order_id, lag(order_id) OVER (PARTITION BY tenant ORDER BY turn) AS before FROM shop.parcel) p WHERE before > order_id`,
    )
    assert.equal(rows.length, 0, 'in order within each key')
    assert.deepEqual([...instance.of('message_failed'), ...instance.of('loop_failed')], [])
  })

  await t.test('the reader gets an answer to everything that operators ask', async (t) => {
    const client = await connected(t, reader)
    for (const text of OPERATORS_ASK) assert.ok((await client.query(text)).rows.length > 0, text)
    const { rows } = await client.query('SELECT name, detail FROM service_ops.verify() WHERE ok IS NOT TRUE')
    assert.deepEqual(rows, [])
    for (const verb of ['status', 'verify'])
      assert.equal((await tidemark([verb], { env: { DATABASE_URL: reader } })).code, 0, verb)
  })

  await t.test('`doctor` finds no fault: the age of the server alone is worth a word', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-oldest-'))
    t.after(() => rm(folder, { recursive: true }))
    await writeFile(join(folder, 'tidemark.config.mjs'), CONFIG)
    const { stdout } = await tidemark(['doctor', '--json'], {
      cwd: folder,
      env: { DATABASE_URL: runner, RUN_MIGRATIONS: '0' },
    })
    const { checks } = JSON.parse(stdout) as { checks: Examined[] }
    const told = checks
      .filter(({ status, is_optional: optional }) => status !== 'ok' && !optional)
      .flatMap(({ name, why, findings }) => [
        ...(why === null ? [] : [`${name} not run: ${why}`]),
        ...findings
          .filter(({ severity }) => severity !== 'note')
          .map(({ severity, seen }) => `${severity} of ${name}: ${seen}`),
      ])
    // The server is a throw-away one, without fsync.
    const expected = /^(warning of server_version|fault of durability): /
    assert.deepEqual(
      told.filter((line) => !expected.test(line)),
      [],
    )
    assert.ok(told.some((line) => line.includes('server_version')))
  })

  instance.kill('SIGTERM')
  assert.equal((await instance.exited).code, 0)
  assert.deepEqual(instance.other, [])
})

test(
  `PostgreSQL ${OLDEST_MAJOR - 1} is refused with its version, and nothing is made in it`,
  { skip },
  async (t) => {
    const server = await throwawayServer(OLDEST_MAJOR - 1)
    t.after(() => t.after(() => server.end()))
    const refusal = new RegExp(
      `PostgreSQL ${OLDEST_MAJOR - 1}\\.\\d+ is too old: Tidemark and pg-boss need ${OLDEST_MAJOR} or newer`,
    )
    const instance = await startInstance(t, { databaseUrl: server.url, config: CONFIG })
    assert.equal((await instance.exited).code, 1)
    assert.match(instance.of('start_failed')[0]?.msg ?? '', refusal)
    const { code, stderr } = await tidemark(['migrate'], { env: { DATABASE_URL: server.url } })
    assert.equal(code, 1)
    assert.match(stderr, refusal)
    const client = await connected(t, server.url)
    const { rows } = await client.query(`SELECT to_regnamespace('service_ops') AS ours`)
    assert.deepEqual(rows, [{ ours: null }])
  },
)

async function connected(scope: Scope, url: string): Promise<Client> {
  const client = new Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  scope.after(() => client.end())
  return client
}
