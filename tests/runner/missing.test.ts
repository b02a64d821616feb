import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { CODE_SCHEMA_VERSION, migrate } from '../../src/db/migrate.ts'
import { SCHEMA_OBJECTS } from '../../src/db/migrate/files.ts'
import type { Queryable } from '../../src/db/pool.ts'
import { createMissing } from '../../src/runner/missing.ts'
import { recordedLog } from '../db/recordedLog.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

/* What is said of lost tables, and when work stops and goes on, though no statement fails. */

const BOOKKEEPING = [
  'service_ops.history_minute',
  'service_ops.history_step',
  'service_ops.invariant',
  'service_ops.message_attempt',
  'service_ops.migrations',
  'service_ops.operator_action',
  'service_ops.schema_window',
]

/** No look asks more often than this. */
const QUERIES_OF_A_LOOK = 4

async function watch(t: TestContext, onBack: () => Promise<void> = () => Promise.resolve()) {
  const database = await createDatabase(t)
  const sql = database.pool()
  const log = recordedLog()
  const calls: string[] = []
  let queries = 0
  const db: Queryable = {
    query<R extends Record<string, unknown>>(text: string, values: readonly unknown[] = []) {
      queries += 1
      return sql.query<R>(text, [...values])
    },
  }
  const missing = createMissing({
    log: { event: log.event, child: noChild, close: () => Promise.resolve() },
    everyMs: 5,
    onGone: () => calls.push('gone'),
    async onBack() {
      calls.push('back')
      await onBack()
    },
  })
  t.after(() => missing.stop())
  assert.equal(await missing.look(db), true)
  const tables = (event: 'table_missing' | 'table_back') => log.of(event).map(({ table }) => table)
  return {
    sql,
    db,
    log,
    calls,
    missing,
    tables,
    said: (event: 'table_missing' | 'table_back', table: string) =>
      until(`${event} of ${table}`, () => tables(event).includes(table)),
    /** Whatever was there before this call has been looked at then. */
    looked: () => {
      const before = queries
      return until('two looks', () => queries > before + 2 * QUERIES_OF_A_LOOK)
    },
    repair: () => {
      const limits = { lockWaitMs: 30_000, statementTimeoutMs: 30_000 }
      return migrate({ url: database.url, log: { event: () => undefined }, ...limits, repair: true })
    },
  }
}

function noChild(): never {
  throw new Error('whoever looks for missing tables makes no child logs')
}

test('each dropped table is said once, by the clock alone; work stops for want of those that it needs, and goes on after the repair', async (t) => {
  const { sql, log, calls, tables, said, repair } = await watch(t)
  for (const table of SCHEMA_OBJECTS.tables) {
    await sql.query(`DROP TABLE ${table} CASCADE`)
    await said('table_missing', table)
    assert.deepEqual(calls.splice(0), BOOKKEEPING.includes(table) ? [] : ['gone'], table)
    await repair()
    await said('table_back', table)
    assert.deepEqual(calls.splice(0), BOOKKEEPING.includes(table) ? [] : ['back'], table)
  }
  assert.deepEqual(tables('table_missing'), SCHEMA_OBJECTS.tables)
  assert.deepEqual(tables('table_back'), SCHEMA_OBJECTS.tables)
  assert.deepEqual(
    log.of('inbox_emptied'),
    [{ table: 'service_ops.integration_inbox' }],
    'what went with it is said',
  )
})

test('a column that a repair adds a moment after its table is not said to be missing; one that stays away is', async (t) => {
  const { sql, tables, said } = await watch(t)
  const table = 'service_ops.integration_inbox'
  const column = `${table}.suspect`
  await sql.query(`DROP TABLE ${table} CASCADE`)
  await said('table_missing', table)
  await sql.query(`CREATE TABLE ${table} (inbox_id bigint)`)
  await said('table_back', table)
  assert.ok(
    !tables('table_missing').includes(column),
    'the look that sees the table says nothing of its columns',
  )
  await said('table_missing', column)
})

test('a table that was dropped and made again between two looks was lost all the same', async (t) => {
  const { sql, calls, tables, said, looked } = await watch(t)
  await sql.query(`BEGIN;
    CREATE TABLE service_ops.another (LIKE service_ops.leader_term INCLUDING ALL);
    DROP TABLE service_ops.leader_term;
    ALTER TABLE service_ops.another RENAME TO leader_term;
    COMMIT`)
  await said('table_back', 'service_ops.leader_term')
  await looked()
  assert.deepEqual(calls, ['gone', 'back'])
  assert.deepEqual([tables('table_missing'), tables('table_back')], [[], ['service_ops.leader_term']])
})

test('work goes on only when what was lost could be put back; until then it is tried at each look', async (t) => {
  let tries = 0
  const { sql, calls, tables, said, repair, log } = await watch(t, () => {
    tries += 1
    return tries === 1 ? Promise.reject(new Error('not yet')) : Promise.resolve()
  })
  const table = 'service_ops.background_task'
  await sql.query(`DROP TABLE ${table} CASCADE`)
  await said('table_missing', table)
  await repair()
  await said('table_back', table)
  assert.deepEqual(calls, ['gone', 'back', 'back'])
  assert.deepEqual(tables('table_back'), [table])
  assert.match(log.of('loop_failed')[0]?.text ?? '', /not yet/)
})

test('what a newer release has taken away is missed only by a statement that fails for it', async (t) => {
  const { sql, db, calls, missing, tables, said, looked } = await watch(t)
  const table = 'service_ops.leader_change'
  await sql.query(
    `INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (${CODE_SCHEMA_VERSION + 1}, 1)`,
  )
  await sql.query(`DROP TABLE ${table}`)
  await looked()
  assert.deepEqual([tables('table_missing'), calls], [[], []])
  const failure: unknown = await sql.query(`TABLE ${table}`).catch((error: unknown) => error)
  missing.failed(db, failure)
  await said('table_missing', table)
  assert.deepEqual(calls, ['gone'])
})
