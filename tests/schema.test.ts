import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { listSchema, listUncommented } from '../scripts/schema/listing.ts'
import { createDatabase } from './support/database.ts'
import { OWN_MAJOR, skipBefore, wantedMajor } from './support/postgres.ts'
import { skipAsRunner } from './support/programWay.ts'

const sqlFolder = join(import.meta.dirname, '../sql')

/** Majors print the same view in different ways; the listing is of the project's own. */
const otherMajor = wantedMajor() !== OWN_MAJOR && `sql/schema.txt is as PostgreSQL ${OWN_MAJOR} prints it`
const otherRights = skipAsRunner('the rights of sql/roles.sql are on the tables, too')
const notListed = skipBefore(14, 'the listing names the compression of columns, which came with 14')

describe('the schema', () => {
  const skip = otherMajor || otherRights
  test('is the one listed in sql/schema.txt (`npm run schema` writes it)', { skip }, async (t) => {
    const client = await (await createDatabase(t)).client()
    const committed = readFileSync(join(sqlFolder, 'schema.txt'), 'utf8')
    const [listed, known] = [(await listSchema(client, 'service_ops')).split('\n'), committed.split('\n')]
    const line = listed.findIndex((text, index) => text !== known[index])
    // The first difference says more than two listings of hundreds of lines.
    const message = `line ${line + 1} is now: ${listed[line] ?? 'the end'}\ncommitted: ${known[line] ?? 'the end'}`
    assert.ok(line < 0 && listed.length === known.length, message)
  })

  test('explains every relation, column and function, those of the demo too', async (t) => {
    const client = await (await createDatabase(t)).client()
    await client.query(readFileSync(join(sqlFolder, 'demo/1_tables.sql'), 'utf8'))
    assert.deepEqual(await listUncommented(client, 'service_ops'), [])
  })
})

describe('the listing', () => {
  test('is the same whatever the order of creation', { skip: notListed || otherRights }, async (t) => {
    const one = await (await createDatabase(t, { migrated: false })).client()
    const two = await (await createDatabase(t, { migrated: false })).client()
    const b =
      'CREATE TABLE s.b (n int NOT NULL DEFAULT 1, CONSTRAINT b_n CHECK (n > 0)) WITH (fillfactor = 45)'
    const a = 'CREATE VIEW s.a AS SELECT 1 AS x'
    await one.query(`CREATE SCHEMA s; ${a}; ${b}; CREATE INDEX b_n_index ON s.b (n)`)
    await two.query(`CREATE SCHEMA s; ${b}; ${a}; CREATE INDEX b_n_index ON s.b (n)`)
    const listing = await listSchema(one, 's')
    assert.equal(await listSchema(two, 's'), listing)
    assert.match(
      listing,
      /table s\.b with \(fillfactor=45\)\n {2}n integer not null default 1\n {2}constraint b_n/,
    )
  })

  test('finds what carries no comment', async (t) => {
    const client = await (await createDatabase(t, { migrated: false })).client()
    await client.query(`
      CREATE SCHEMA s; COMMENT ON SCHEMA s IS 'schema';
      CREATE TABLE s.t (told int, untold int); COMMENT ON TABLE s.t IS 'table'; COMMENT ON COLUMN s.t.told IS 'column';
      CREATE VIEW s.v AS SELECT 1 AS x; COMMENT ON COLUMN s.v.x IS 'column';
      CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';`)
    assert.deepEqual(await listUncommented(client, 's'), ['s.f(integer)', 's.t.untold', 's.v'])
  })
})
