import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { objectsOf, SCHEMA_OBJECTS } from '../../src/db/migrate/files.ts'
import { parseInvariant, readInvariants, syncInvariants } from '../../src/db/migrate/invariants.ts'
import { CODE_SCHEMA_VERSION, migrate, schemaStatus } from '../../src/db/migrate.ts'
import { SqlFileInvalid } from '../../src/errors.ts'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { recordedLog } from './recordedLog.ts'

async function migrated(t: Scope) {
  const database = await createDatabase(t, { migrated: false })
  await migrate({ url: database.url, log: recordedLog(), lockWaitMs: 5_000, statementTimeoutMs: 20_000 })
  return database.client()
}

describe('the schema window', () => {
  test('older code runs on a newer schema for as long as that serves it', async (t) => {
    const client = await migrated(t)
    await client.query('INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (40, 38)')
    const fits = async (code: number): Promise<boolean> => (await schemaStatus(client, code)).fits
    assert.deepEqual(
      [await fits(37), await fits(38), await fits(40), await fits(41)],
      [false, true, true, false],
    )
    assert.match((await schemaStatus(client, 37)).reason, /serves releases from 38 on; this one is 37/)
    assert.match(
      (await schemaStatus(client, 41)).reason,
      /at version 40 and this release needs 41: run `tidemark migrate`/,
    )
  })

  test('without our schema nothing fits, and the reason names the command', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const status = await schemaStatus(await database.client())
    assert.deepEqual([status.version, status.fits], [null, false])
    assert.match(status.reason, /tidemark migrate/)
  })
})

describe('the objects of the schema', () => {
  test('what the files make is exactly what a migrated database has', async (t) => {
    const client = await migrated(t)
    const { rows } = await client.query<{ relations: string[]; functions: string[] }>(
      `SELECT array(SELECT 'service_ops.' || relname FROM pg_class
                     WHERE relnamespace = 'service_ops'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') ORDER BY 1) AS relations,
              array(SELECT DISTINCT 'service_ops.' || proname FROM pg_proc
                     WHERE pronamespace = 'service_ops'::regnamespace ORDER BY 1) AS functions`,
    )
    assert.deepEqual([...(rows[0]?.relations ?? [])].sort(), SCHEMA_OBJECTS.relations)
    assert.deepEqual([...(rows[0]?.functions ?? [])].sort(), SCHEMA_OBJECTS.functions)
  })

  test('what a later file drops is not missed', () => {
    const first =
      'CREATE TABLE IF NOT EXISTS service_ops.a (x int);\nCREATE OR REPLACE VIEW service_ops.b AS SELECT 1'
    const { relations } = objectsOf([first, 'DROP VIEW IF EXISTS service_ops.b;'])
    assert.deepEqual(relations, ['service_ops.a', 'service_ops.migrations'])
  })
})

describe('the invariants', () => {
  test('their table equals the files after migrating, and a newer release is not overwritten', async (t) => {
    const client = await migrated(t)
    const files = readInvariants()
    const names = async (): Promise<string[]> => {
      const { rows } = await client.query<{ name: string }>('SELECT name FROM service_ops.invariant')
      return rows.map(({ name }) => name).sort()
    }
    assert.deepEqual(await names(), files.map(({ name }) => name).sort())
    const [mine = '', theirs = ''] = files.map(({ name }) => name)
    await client.query(`UPDATE service_ops.invariant SET title = 'changed' WHERE name = $1`, [mine])
    await client.query(
      `UPDATE service_ops.invariant SET title = 'newer', schema_version = $2 WHERE name = $1`,
      [theirs, CODE_SCHEMA_VERSION + 1],
    )
    await client.query(
      `INSERT INTO service_ops.invariant SELECT n, 'once', n, n, 'SELECT 1', v FROM (VALUES ('old', 1), ('new', 99)) x(n, v)`,
    )
    await syncInvariants(client)
    assert.deepEqual(await names(), [...files.map(({ name }) => name), 'new'].sort())
    const { rows } = await client.query(
      'SELECT name, title FROM service_ops.invariant WHERE name = ANY($1) ORDER BY name',
      [[mine, theirs]],
    )
    assert.deepEqual(rows, [
      { name: mine, title: files[0]?.title },
      { name: theirs, title: 'newer' },
    ])
  })

  test('a file is read as header and query, and one without its header is refused', () => {
    const text = '-- title: T.\n-- meaning: M.\n-- scope: once\nSELECT 0 AS found;\n'
    assert.deepEqual(parseInvariant('3_some_name.sql', text), {
      name: 'some_name',
      scope: 'once',
      title: 'T.',
      meaning: 'M.',
      query: 'SELECT 0 AS found',
    })
    for (const bad of [
      text.replace('-- title: T.\n', ''),
      text.replace('once', 'twice'),
      text.replace(/SELECT.*\n/, ''),
    ]) {
      assert.throws(() => parseInvariant('x.sql', bad), SqlFileInvalid, bad)
    }
  })
})
