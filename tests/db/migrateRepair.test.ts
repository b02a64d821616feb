import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { Client } from 'pg'
import { objectsOf } from '../../src/db/migrate/files.ts'
import { migrate, missingObjects } from '../../src/db/migrate.ts'
import type { MigrateResult } from '../../src/db/migrate.ts'
import { createDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { recordedLog } from './recordedLog.ts'

const FILES = join(import.meta.dirname, '../../sql/migrations')

const COLUMNS = [
  'service_ops.integration_inbox.interruptions_in_a_row',
  'service_ops.integration_inbox.suspect',
]

async function run(database: TestDatabase, repair = false): Promise<MigrateResult> {
  const { url } = database
  return migrate({ url, log: recordedLog(), lockWaitMs: 20_000, statementTimeoutMs: 20_000, repair })
}

async function migrated(t: Scope): Promise<{ database: TestDatabase; client: Client }> {
  const database = await createDatabase(t, { migrated: false })
  await run(database)
  return { database, client: await database.client() }
}

describe('columns that a later file gives to a table', () => {
  test('are read from the files, less those that are dropped later, themselves or with their table', () => {
    const { columns } = objectsOf([
      'CREATE TABLE IF NOT EXISTS service_ops.a (x int);\nCREATE TABLE IF NOT EXISTS service_ops.b (x int);',
      `ALTER TABLE service_ops.a ADD COLUMN IF NOT EXISTS y int NOT NULL DEFAULT 0, ADD COLUMN z text;
       DO $$ BEGIN
         ALTER TABLE service_ops.b
           ADD COLUMN IF NOT EXISTS y int;
       END $$;`,
      'ALTER TABLE service_ops.a DROP COLUMN IF EXISTS z;\nDROP TABLE service_ops.b;',
    ])
    assert.deepEqual(columns, ['service_ops.a.y'])
  })

  test('are missed when a repair ended between the file that makes the table and theirs', async (t) => {
    const { database, client } = await migrated(t)
    await client.query('DROP TABLE service_ops.integration_inbox CASCADE')
    assert.ok(
      !(await missingObjects(client)).some((name) => COLUMNS.includes(name)),
      'the table is named alone',
    )
    for (const file of ['3_watermark_and_inbox', '4_status_views'])
      await client.query(readFileSync(join(FILES, `${file}.sql`), 'utf8'))
    const plain = await run(database)
    // The view over the table went with it.
    assert.deepEqual([plain.applied, plain.missing], [[], [...COLUMNS, 'service_ops.slot_status']])
    assert.deepEqual((await run(database, true)).missing, [])
  })
})

describe('the numbers of messages', () => {
  const firstNumber = async (client: Client): Promise<number> => {
    const { rows } = await client.query<{ n: string }>(
      `INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id) VALUES ('s', '1', '{}', 't')
       RETURNING inbox_id AS n`,
    )
    return Number(rows[0]?.n)
  }

  test('begin with 1 in a new database', async (t) => {
    const { client } = await migrated(t)
    assert.equal(await firstNumber(client), 1)
  })

  const LOST = {
    'the inbox': 'service_ops.integration_inbox',
    'the inbox and the list of files': 'service_ops.integration_inbox, service_ops.migrations',
    'the inbox, the list of files and the marks':
      'service_ops.integration_inbox, service_ops.migrations, service_ops.inbox_low_water',
  }
  for (const [what, tables] of Object.entries(LOST)) {
    test(`go on far above the old ones when ${what} is lost and made again`, async (t) => {
      const { database, client } = await migrated(t)
      await client.query(`
        INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release) VALUES (1, 's', 'poller', true, 'x', '1');
        INSERT INTO service_ops.inbox_low_water (source, low) VALUES ('s', 30);
        DROP TABLE ${tables} CASCADE`)
      await run(database, !tables.includes('migrations'))
      assert.ok((await firstNumber(client)) > 1e9)
    })
  }
})
