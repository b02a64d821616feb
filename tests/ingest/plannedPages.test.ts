import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { QueryResultRow } from 'pg'
import type { PassOptions } from '../../src/ingest/pass.ts'
import type { Scope } from '../support/scope.ts'
import { createIntake, sourceOf } from './fixture.ts'

/* The pages of a backlog, planned once a connection. */

const PAGES = 4
const PAGE = 10

/** A backlog, and a pass over it, whose prepared statements are told; `before` runs in front of each. */
async function backlog(t: Scope, before: (query: (text: string) => Promise<unknown>) => Promise<unknown>) {
  const intake = await createIntake(
    t,
    `CREATE TABLE note (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz DEFAULT now(), body jsonb);
     INSERT INTO note (body) SELECT to_jsonb(n) FROM generate_series(1, ${PAGES * PAGE}) n`,
  )
  const { pool } = intake
  const names: string[] = []
  let replans = 0
  const db: PassOptions['db'] = {
    query: <R extends QueryResultRow>(text: string, values: readonly unknown[] = []) =>
      pool.query<R>(text, [...values]),
    async prepared<R extends QueryResultRow>(name: string, text: string, values: readonly unknown[]) {
      names.push(name)
      await before((ask) => pool.query(ask))
      return pool.query<R>({ name, text, values: [...values] })
    },
    replan: () => void (replans += 1),
  }
  const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
  const result = await intake.pass(source, await intake.lead(), { db, pageSize: PAGE })
  assert.equal(result.rowsInserted, PAGES * PAGE)
  return { names, replans: () => replans }
}

test('the pages after a full one of new rows are one prepared statement, whose plan is kept while it is quick', async (t) => {
  const { names } = await backlog(t, () => Promise.resolve())
  assert.ok(names.length >= PAGES - 1, `${names.length} prepared pages`)
  assert.equal(new Set(names).size, 1)
})

test('a page that is slow has its plan given up', async (t) => {
  const { names, replans } = await backlog(t, (query) => query('SELECT pg_sleep(0.15)'))
  assert.equal(replans(), names.length)
})
