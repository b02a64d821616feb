import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import type { Client } from 'pg'
import { readSettings } from '../../src/config/settings.ts'
import { resolveConfig } from '../../src/config/validate.ts'
import { CannotRun } from '../../src/doctor/check.ts'
import { examineTable, sourceOf, type ExaminedTable } from '../../src/init/examineTable.ts'
import { checkSource } from '../../src/ingest/sourceCheck.ts'
import { createDatabase } from '../support/database.ts'
import { plainRole } from '../support/plainRole.ts'

/* What init sees in tables of every kind. The first database has Tidemark's schema; somebody's first init meets none. */

interface Place {
  readonly client: Client
  look(table: string): Promise<ExaminedTable>
}

async function place(t: TestContext, tables: string, migrated = true): Promise<Place> {
  const database = await createDatabase(t, { migrated })
  const client = await database.client()
  await client.query(`CREATE SCHEMA shop; SET search_path = shop, public; ${tables}`)
  const settings = readSettings({ DATABASE_URL: database.url })
  return { client, look: (table) => examineTable(client, settings, table, ({ name }) => name.toLowerCase()) }
}

/** Check and text of everything that was found. */
function told({ remarks }: ExaminedTable): string {
  return remarks
    .map(({ severity, check, seen, remedy }) => `${severity} ${check}: ${seen} → ${remedy}`)
    .join('\n')
}

/** The config that init writes is one that a poller starts with. */
async function starts({ client }: Place, { guess, clientTimes }: ExaminedTable): Promise<void> {
  const source = { ...sourceOf(guess), ...(clientTimes === null ? {} : { lateness: '10m' as const }) }
  const [poller] = resolveConfig({
    pollers: { source: { source } },
    processors: { work: { from: 'source', contract: 'external', handle: () => undefined } },
  }).pollers
  assert.ok(poller !== undefined)
  await checkSource(client, poller.source)
}

/** Does what the remedy of the one fault says in SQL; what stands behind it in brackets is for people. */
async function mend({ client }: Place, { remarks }: ExaminedTable): Promise<void> {
  const [fault, ...more] = remarks.filter(({ severity }) => severity === 'fault')
  assert.ok(fault !== undefined && more.length === 0, JSON.stringify(remarks))
  await client.query(fault.remedy.replace(/ \([^()]*\)$/, ''))
}

const ORDERS = `CREATE TABLE orders (
  order_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), updated_at timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now(), data jsonb NOT NULL, customer_id integer NOT NULL, trace_id text);
  CREATE INDEX ON orders (created_at, order_id);`

describe('init looks at a table', () => {
  test('and finds id, time, payload, group key and trace id', async (t) => {
    for (const migrated of [true, false]) {
      const here = await place(t, ORDERS, migrated)
      const seen = await here.look('orders')
      assert.deepEqual(sourceOf(seen.guess), {
        table: 'shop.orders',
        id: 'order_id',
        createdAt: 'created_at',
        payload: 'data',
        groupKey: 'customer_id',
        traceId: 'trace_id',
      })
      assert.equal(told(seen), '')
      assert.deepEqual([seen.clientTimes, seen.older], [null, null])
      await starts(here, seen)
    }
  })

  test('with names that need quotes', async (t) => {
    const here = await place(
      t,
      `CREATE TABLE "Order Lines" ("Id" bigint PRIMARY KEY, "CreatedAt" timestamptz DEFAULT now(), "order" text)`,
    )
    const seen = await here.look('"Order Lines"')
    assert.deepEqual(sourceOf(seen.guess), { table: 'shop."Order Lines"', id: 'Id', createdAt: 'CreatedAt' })
    assert.match(told(seen), /→ CREATE INDEX CONCURRENTLY ON shop\."Order Lines" \("CreatedAt", "Id"\)$/)
    await starts(here, seen)
  })

  test('and says how late rows may be where clients set the time, and how many are old', async (t) => {
    const here = await place(
      t,
      `CREATE TABLE readings (id bigint PRIMARY KEY, at timestamp NOT NULL);
       INSERT INTO readings SELECT i, now() - interval '30 days' FROM generate_series(1, 3) i`,
    )
    const seen = await here.look('readings')
    assert.deepEqual([seen.guess.timeZone, seen.older], ['UTC', '3'])
    assert.match(seen.clientTimes ?? '', /timestamp without zone/)
    assert.match(
      told(seen),
      /^warning cursor_index: no index of shop\.readings begins with at: .* → CREATE INDEX CONCURRENTLY ON shop\.readings \(at, id\)$/,
    )
    await starts(here, seen)
  })

  test('and takes what is unique where there is no primary key', async (t) => {
    const here = await place(
      t,
      `CREATE TABLE events (event_no bigint NOT NULL UNIQUE, created timestamptz DEFAULT now());
       CREATE TABLE notes (id text, created timestamptz DEFAULT now())`,
    )
    assert.equal((await here.look('events')).guess.id.column, 'event_no')
    const notes = await here.look('notes')
    assert.match(
      told(notes),
      /^warning sources: nothing promises that id of shop\.notes is unique, .* → CREATE UNIQUE INDEX CONCURRENTLY ON shop\.notes \(id\)$/m,
    )
    await starts(here, notes)
  })

  test('and takes the real id of a partitioned table', async (t) => {
    const here = await place(
      t,
      `CREATE TABLE calls (id uuid NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at);
       CREATE TABLE calls_rest PARTITION OF calls DEFAULT`,
    )
    const seen = await here.look('calls')
    assert.equal(seen.guess.id.column, 'id')
    assert.match(
      told(seen),
      /^warning sources: the key of shop\.calls is \(id, created_at\): .*unique over all partitions/,
    )
    assert.match(told(seen), /→ CREATE INDEX ON shop\.calls \(created_at, id\)$/)
    await starts(here, seen)
  })

  test('and a view, whose times somebody may set', async (t) => {
    const here = await place(t, `${ORDERS} CREATE VIEW paid AS SELECT order_id AS id, created_at FROM orders`)
    const seen = await here.look('paid')
    assert.match(told(seen), /^warning sources: nothing promises that id of shop\.paid is unique/)
    assert.match(seen.clientTimes ?? '', /is a view’s/)
    await starts(here, seen)
  })
})

describe('a table that cannot be polled as it is has a remedy, and the config is right once that is done', () => {
  const cases: Readonly<Record<string, readonly [table: string, expected: RegExp]>> = {
    'no time': ['CREATE TABLE it (id bigint PRIMARY KEY, day date)', /has no column with the time/],
    'a time of changes alone': [
      'CREATE TABLE it (id bigint PRIMARY KEY, updated_at timestamptz)',
      /has no column with the time/,
    ],
    'no key': [
      'CREATE TABLE it (what text, created_at timestamptz DEFAULT now())',
      /has no primary key and no column that is unique/,
    ],
    'a key of several columns': [
      'CREATE TABLE it ("Order" text, line integer, created_at timestamptz DEFAULT now(), PRIMARY KEY ("Order", line))',
      /its key has 2 columns, \(Order, line\)/,
    ],
    'a key of a type without an order of ours': [
      'CREATE TABLE it (id numeric PRIMARY KEY, created_at timestamptz DEFAULT now())',
      /its key id is numeric, and ids may be smallint/,
    ],
    'a time that is a constant': [
      `CREATE TABLE it (id bigint PRIMARY KEY, created_at timestamptz DEFAULT '2026-01-01')`,
      /every row would have the same time/,
    ],
  }
  for (const [name, [table, expected]] of Object.entries(cases)) {
    test(name, async (t) => {
      const here = await place(t, table)
      const seen = await here.look('it')
      assert.match(told(seen), expected)
      if (name === 'a time that is a constant') return
      await mend(here, seen)
      await starts(here, seen)
    })
  }

  test('two keys of several texts are never one id', async (t) => {
    const here = await place(
      t,
      'CREATE TABLE it (a text, b text, created_at timestamptz DEFAULT now(), PRIMARY KEY (a, b))',
    )
    const seen = await here.look('it')
    await mend(here, seen)
    await here.client.query(`INSERT INTO it (a, b) VALUES ('x:y', 'z'), ('x', 'y:z')`)
    const { rows } = await here.client.query(
      `SELECT DISTINCT ${seen.guess.id.column} FROM ${seen.guess.table}`,
    )
    assert.equal(rows.length, 2)
  })

  test('a role without rights: the catalogs tell the columns, and the GRANT is named', async (t) => {
    const database = await createDatabase(t)
    await database
      .pool()
      .query(`CREATE SCHEMA shop; ${ORDERS.replaceAll(/(TABLE|ON) orders/g, '$1 shop.orders')}`)
    const { role, url } = await plainRole(t, database)
    await database.pool().query(`GRANT USAGE ON SCHEMA shop TO ${role}`)
    const { Client } = await import('pg')
    const client = new Client({ connectionString: url })
    await client.connect()
    try {
      const seen = await examineTable(
        client,
        readSettings({ DATABASE_URL: url }),
        'shop.orders',
        () => 'orders',
      )
      assert.equal(seen.guess.id.column, 'order_id')
      assert.match(
        told(seen),
        new RegExp(
          `^fault sources: role ${role} lacks rights on table shop\\.orders → GRANT SELECT ON shop\\.orders TO ${role}`,
        ),
      )
    } finally {
      await client.end()
    }
  })
})

describe('of what is no table to be polled nothing is written', () => {
  const refused = async (here: Place, table: string, why: RegExp, remedy: RegExp): Promise<void> => {
    const error: unknown = await here.look(table).catch((thrown: unknown) => thrown)
    assert.ok(error instanceof CannotRun, String(error))
    assert.match(error.message, why)
    assert.match(error.remedy, remedy)
  }

  test('none of that name, one of another schema or case, a sequence, a foreign table, a name that is none', async (t) => {
    const here = await place(
      t,
      `CREATE TABLE public."Orders" (id bigint); CREATE SEQUENCE counter;
       CREATE FOREIGN DATA WRAPPER nobody; CREATE SERVER away FOREIGN DATA WRAPPER nobody; CREATE FOREIGN TABLE remote (id bigint) SERVER away`,
    )
    await refused(
      here,
      'nowhere',
      /there is no table nowhere in this database/,
      /with its schema and its case/,
    )
    await refused(
      here,
      'shop.orders',
      /there is no table shop\.orders .*; there is public\."Orders"$/,
      /^tidemark init --table 'public\."Orders"'$/,
    )
    await refused(here, 'counter', /shop\.counter is neither a table nor a view/, /name a table/)
    await refused(here, 'remote', /shop\.remote is a foreign table/, /on the database where the table lies/)
    await refused(here, 'a.b.c', /is not a name of a table/, /./)
  })
})
