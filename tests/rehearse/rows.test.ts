import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { SourceConfig } from '../../src/config/types.ts'
import { resolveConfig } from '../../src/config/validate.ts'
import { sqlPath } from '../../src/db/folder.ts'
import { RehearsalImpossible } from '../../src/errors.ts'
import { planRows } from '../../src/rehearse/rows.ts'
import type { RowWriter } from '../../src/rehearse/rows.ts'
import { createDatabase } from '../support/database.ts'

const SOURCE: SourceConfig = { table: 'source', id: 'id', createdAt: 'at' }

async function world(t: TestContext, tables: string) {
  const client = await (await createDatabase(t, { migrated: false })).client()
  await client.query(readFileSync(sqlPath('rehearse/1_tables.sql'), 'utf8'))
  await client.query(tables)
  return {
    client,
    plan: (source: Partial<SourceConfig> = {}, inserts: readonly string[] = []): Promise<RowWriter[]> => {
      const { pollers } = resolveConfig({ pollers: { reader: { source: { ...SOURCE, ...source } } } })
      return planRows(client, pollers, inserts)
    },
  }
}

describe('rows of a source', () => {
  test('are made from what its columns allow, and noted by id', async (t) => {
    const { client, plan } = await world(
      t,
      `CREATE TYPE size AS ENUM ('small', 'large');
       CREATE DOMAIN sku AS text CHECK (value <> '');
       CREATE DOMAIN counted AS integer NOT NULL DEFAULT 7;
       CREATE TABLE "Buyer" ("Id" int PRIMARY KEY);
       INSERT INTO "Buyer" VALUES (11), (12);
       CREATE TABLE source (
         id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), tenant varchar(12), note text, size size NOT NULL, sku sku NOT NULL,
         counted counted, buyer int NOT NULL REFERENCES "Buyer", price numeric(20, 2) NOT NULL, short varchar(3) UNIQUE NOT NULL,
         tags text[] NOT NULL, body jsonb NOT NULL, raw bytea NOT NULL, day date NOT NULL, ok boolean NOT NULL, span interval NOT NULL,
         host inet NOT NULL, period tstzrange NOT NULL, twice numeric GENERATED ALWAYS AS (price * 2) STORED,
         key uuid NOT NULL, "Odd "" name" text NOT NULL);`,
    )
    const [writer] = await plan({ groupKey: 'tenant' })
    await writer?.write(client, 30)
    const { rows } = await client.query<Record<string, unknown>>('SELECT * FROM source')
    assert.equal(rows.length, 30)
    const tenants = new Set(rows.map(({ tenant }) => tenant))
    assert.ok(tenants.size > 1 && tenants.size <= 20, 'several groups')
    assert.ok(rows.every((row) => row['note'] === null && row['counted'] === 7 && row['size'] === 'small'))
    assert.ok(rows.every(({ buyer }) => buyer === 11 || buyer === 12))
    const noted = await client.query(
      `SELECT FROM tidemark_rehearsal.written w JOIN source s ON s.id = w.message_id WHERE w.source = 'reader'`,
    )
    assert.equal(noted.rowCount, 30)
  })

  test('need no column at all, and leave a number that is always generated alone', async (t) => {
    const { client, plan } = await world(
      t,
      'CREATE TABLE source (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT now(), note text)',
    )
    const [writer] = await plan()
    await writer?.write(client, 3)
    assert.equal((await client.query('SELECT FROM tidemark_rehearsal.written')).rowCount, 3)
  })

  test('roll back together with their note', async (t) => {
    const { client, plan } = await world(t, 'CREATE TABLE source (id serial, at timestamptz DEFAULT now())')
    const [writer] = await plan()
    await client.query('BEGIN')
    await writer?.write(client, 3)
    await client.query('ROLLBACK')
    // Nor has the try that shows that a row can be made left anything.
    assert.equal((await client.query('SELECT FROM source')).rowCount, 0)
    assert.equal((await client.query('SELECT FROM tidemark_rehearsal.written')).rowCount, 0)
  })

  test('are written by a statement of the user’s where one names the table', async (t) => {
    const { client, plan } = await world(
      t,
      `CREATE TABLE source (id serial, at timestamptz DEFAULT now(), kind text NOT NULL CHECK (kind = 'tea'))`,
    )
    await assert.rejects(plan(), { name: 'RehearsalImpossible', message: /source_kind_check.*--insert/ })
    const [writer] = await plan({}, [`INSERT INTO public.source (kind) VALUES ('tea');`])
    await writer?.write(client, 2)
    assert.equal((await client.query('SELECT FROM tidemark_rehearsal.written')).rowCount, 2)
  })

  test('are refused when the poller’s condition lets none of them through, and not when it lets some', async (t) => {
    const { plan } = await world(
      t,
      'CREATE TABLE source (id serial, at timestamptz DEFAULT now(), ready boolean NOT NULL DEFAULT false)',
    )
    await assert.rejects(plan({ where: 'ready' }), {
      name: 'RehearsalImpossible',
      message:
        /no row that `where` of reader \(ready\) lets through could be made for public\.source: .*--insert/,
    })
    const insert = (ready: boolean): string => `INSERT INTO source (ready) VALUES (${String(ready)})`
    await assert.rejects(plan({ where: 'ready' }, [insert(false)]), {
      message: /^--insert "INSERT.* makes no row that `where` of reader \(ready\) lets through/,
    })
    await plan({ where: 'ready' }, [insert(true)])
    await plan({ where: 'id % 10 = 0' })
  })

  test('are not written by a statement that can be run but once, which is named', async (t) => {
    const { plan } = await world(t, 'CREATE TABLE source (id int PRIMARY KEY, at timestamptz DEFAULT now())')
    await assert.rejects(plan({}, ['INSERT INTO source (id) VALUES (1)']), {
      name: 'RehearsalImpossible',
      message: /^--insert "INSERT INTO source .*source_pkey.*a new value each time/,
    })
  })

  test('cannot be made for what is not there, or by what is no INSERT into a source', async (t) => {
    const { plan } = await world(
      t,
      'CREATE TABLE source (id serial, at timestamptz DEFAULT now()); CREATE TABLE other ()',
    )
    await assert.rejects(plan({ table: 'nowhere' }), {
      name: 'RehearsalImpossible',
      message: /no table "nowhere".*--setup/,
    })
    for (const insert of [
      'SELECT 1',
      'INSERT INTO source DEFAULT VALUES RETURNING id',
      'INSERT INTO other DEFAULT VALUES',
    ])
      await assert.rejects(plan({}, [insert]), RehearsalImpossible, insert)
  })
})
