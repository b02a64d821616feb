import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readSettings } from '../../src/config/settings.ts'
import { CannotRun, LIMITS, note, warning, type Check } from '../../src/doctor/check.ts'
import { CHECKS } from '../../src/doctor/checks.ts'
import { examine, isClean } from '../../src/doctor/examine.ts'
import { createDatabase } from '../support/database.ts'
import { DIRECT } from './patient.ts'

const nothing = (): never => {
  throw new CannotRun('it is not there', 'make it', { isOptional: true })
}

/** A check that runs one statement. */
function asks(name: string, text: string, fallback?: string): Check {
  return {
    name,
    title: '',
    async run(context) {
      const database = context.database()
      const asked = database.query<{ seen: string }>(text)
      const { rows } = await (fallback === undefined
        ? asked
        : asked.catch(() => database.query<{ seen: string }>(fallback)))
      return rows.map(({ seen }) => warning(seen, 'none'))
    },
  }
}

test('each check is examined by itself', async (t) => {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query('CREATE TABLE orders (id int)')
  const run = async (...checks: readonly Check[]) => {
    const client = await database.client()
    const patient = {
      settings: readSettings({ DATABASE_URL: database.url }),
      limits: LIMITS,
      client,
      config: nothing,
      written: nothing,
      fly: nothing,
      ways: () => Promise.resolve(DIRECT),
      now: Date.now,
    }
    const results = await examine(patient, checks)
    await client.end()
    return results
  }
  const statuses = async (...checks: readonly Check[]) => (await run(...checks)).map(({ status }) => status)

  await t.test('what it writes is refused', async () => {
    const [result] = await run(asks('writer', 'INSERT INTO orders VALUES (1) RETURNING id::text AS seen'))
    assert.equal(result?.status, 'not_run')
    assert.match(result.why ?? '', /read-only transaction/)
    assert.equal((await sql.query('SELECT FROM orders')).rowCount, 0)
  })

  await t.test('a statement that fails is no end of its own look, nor of the next check', async () => {
    const found = asks('mended', 'SELECT nonsense', `SELECT 'a' AS seen`)
    assert.deepEqual(
      await statuses(asks('failed', 'SELECT nonsense'), found, asks('quiet', 'SELECT WHERE false')),
      ['not_run', 'found', 'ok'],
    )
  })

  await t.test('somebody’s lock on a table does not hold it up', async () => {
    const holder = await database.client()
    await holder.query('BEGIN; LOCK TABLE orders')
    const [result] = await run(asks('waiting', 'SELECT id::text AS seen FROM orders'))
    assert.match(result?.why ?? '', /lock timeout/)
    assert.match(result?.remedy ?? '', /pg_stat_activity/)
    await holder.query('ROLLBACK')
  })

  await t.test('a database that goes away in between: what follows could not run', async () => {
    const gone = asks('gone', `SELECT pg_terminate_backend(pg_backend_pid())::text AS seen`)
    const unasked: Check = { name: 'unasked', title: '', run: () => Promise.resolve([]) }
    const results = await run(gone, asks('late', `SELECT 'a' AS seen`), unasked)
    assert.deepEqual(
      results.map(({ status }) => status),
      ['not_run', 'not_run', 'ok'],
    )
    assert.equal(isClean(results), false)
  })

  await t.test('clean is what has nothing but notes, and nothing left unseen', async () => {
    const of = (run: Check['run']): Check => ({ name: 'it', title: '', run })
    const clean = async (check: Check) => isClean(await run(check))
    assert.equal(await clean(of(() => Promise.resolve([note('a', 'b')]))), true)
    assert.equal(await clean(of(() => Promise.resolve([warning('a', 'b')]))), false)
    assert.equal(await clean(of(() => Promise.reject(new CannotRun('a', 'b')))), false)
    // There is no fly.toml, say.
    assert.equal(await clean(of(nothing)), true)
  })
})

test('docs/doctor.md has a line for each check, in their order, and for no other', () => {
  const docs = readFileSync(join(import.meta.dirname, '../../docs/doctor.md'), 'utf8')
  const [, table = ''] = docs.split('\n## The checks\n')
  const told = [...table.matchAll(/^\| `(\w+)` +\|/gm)].map(([, name]) => name)
  assert.deepEqual(
    told,
    CHECKS.map(({ name }) => name),
  )
  assert.equal(new Set(told).size, CHECKS.length)
})
