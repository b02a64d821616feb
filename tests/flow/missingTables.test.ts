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

/** No statement of a quiet instance, whose leaders stay, needs one of them for hours. */
const SILENT = ['background_task', 'inbox_low_water', 'leader_change', 'leader_term'].map(
  (table) => `service_ops.${table}`,
)
const BOOKKEEPING = ['invariant', 'migrations', 'schema_window'].map((table) => `service_ops.${table}`)

test('tables that no statement asks for are named as well when they are gone, and the repair mends the running system', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(
    `CREATE TABLE arrival (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
     CREATE TABLE effect (message_id text)`,
  )
  const start = () => startInstance(t, { databaseUrl: database.url, config: CONFIG })
  const cli = (...args: string[]) =>
    tidemark(args, { env: { DATABASE_URL: database.url, LOG_LEVEL: 'critical' } })
  const rowsOf = async (text: string): Promise<unknown[]> =>
    (await pool.query<Record<string, unknown>>(text)).rows
  const tasks = () => rowsOf('SELECT id, task_name FROM service_ops.background_task ORDER BY id')
  const newestTerm = async () => {
    const { rows } = await pool.query<{ term: string }>(`SELECT max(term) AS term FROM service_ops.poll_run`)
    return Number(rows[0]?.term)
  }
  /** A row that is written now is processed. */
  const works = async (when: string) => {
    const { rows } = await pool.query<{ id: string }>('INSERT INTO arrival DEFAULT VALUES RETURNING id')
    const effect = () => pool.query('SELECT FROM effect WHERE message_id = $1', [rows[0]?.id])
    await until(`a fresh row to be processed ${when}`, async () => ((await effect()).rowCount ?? 0) > 0)
  }
  const holds = async (when: string) => {
    const { code, stdout } = await cli('verify')
    assert.equal(code, 0, `${when}: ${stdout}`)
  }

  const one = await start()
  await one.said('ready')
  await works('at first')
  assert.deepEqual(await tasks(), [
    { id: 1, task_name: 'arrivals' },
    { id: 2, task_name: 'reader' },
  ])
  const before = await tasks()
  const term = await newestTerm()

  const lost = [...SILENT, ...BOOKKEEPING].sort()
  await pool.query(`DROP TABLE ${lost.join(', ')} CASCADE`)
  for (const table of lost) await one.said('table_missing', { table })
  assert.deepEqual(
    one.lines.filter(({ level }) => level === 'critical').map(({ table }) => table),
    lost,
  )
  const repair = await cli('migrate', '--repair')
  assert.equal(repair.code, 0, repair.stderr)
  for (const table of lost) await one.said('table_back', { table })
  await works('after the repair')
  assert.deepEqual(await tasks(), before)
  assert.ok((await newestTerm()) > term, 'a higher term')
  await holds('after the repair')

  // An election that finds no row of its poller: said once, and mended.
  await pool.query(`DELETE FROM service_ops.background_task; DELETE FROM service_ops.background_task_leader`)
  await one.said('loop_failed', { loop: 'lead', task: 'arrivals' })
  await works('after the rows were deleted')
  assert.deepEqual(await tasks(), before)

  const two = await start()
  await two.said('ready')
  one.kill('SIGTERM')
  assert.equal((await one.exited).code, 0)
  await works('after a deploy')
  await holds('after a deploy')
  assert.equal(one.of('loop_failed').length, 1)
  assert.deepEqual(
    [...one.of('stale_write_refused', { what: 'a pass' }), ...two.of('stale_write_refused')],
    [],
  )
})
