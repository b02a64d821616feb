import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { dropInvalidIndexes, runText, setLimits } from '../../src/db/migrate/session.ts'
import { createDatabase } from '../support/database.ts'

const limits = { statementTimeoutMs: 20_000, lockTimeoutMs: 3_000 }
const LIMITS = `SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') AS now`

describe('a file that builds an index concurrently', () => {
  test('has no limits while it runs; every other file has', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    await setLimits(client, limits)
    const look = async (): Promise<string | undefined> =>
      (await client.query<{ now: string }>(LIMITS)).rows[0]?.now
    assert.equal(await runText(client, 'SELECT 1', limits, look), '20s 3s')
    assert.equal(
      await runText(client, '-- postgres-migrations disable-transaction\nSELECT 1', limits, look),
      '0 0',
    )
    assert.equal(await look(), '20s 3s')
  })

  test('finds the invalid remains of a failed attempt dropped; valid and foreign indexes stay', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    await client.query(
      'CREATE SCHEMA service_ops; CREATE TABLE service_ops.a AS SELECT 1 AS x FROM generate_series(1, 2)',
    )
    await client.query('CREATE INDEX good ON service_ops.a (x)')
    for (const name of ['ours', 'theirs']) {
      await assert.rejects(client.query(`CREATE UNIQUE INDEX CONCURRENTLY ${name} ON service_ops.a (x)`), {
        code: '23505',
      })
    }
    await dropInvalidIndexes(client, ['ours', 'good'])
    const { rows } = await client.query(
      'SELECT indexname AS name FROM pg_indexes WHERE tablename = $1 ORDER BY 1',
      ['a'],
    )
    assert.deepEqual(rows, [{ name: 'good' }, { name: 'theirs' }])
  })
})
