import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { plainRole } from '../support/plainRole.ts'
import { examined, finds, findsAndMends, isSilent } from './patient.ts'

const ANY_AGE = { oldTransactionMs: 0 }

test('what holds the edge', async (t) => {
  const database = await createDatabase(t)
  const { url, name } = database
  const sql = database.pool()

  await t.test('a transaction that somebody left open: which, whose, how to end it', async () => {
    const client = await database.client()
    await client.query(`SET application_name = 'a forgotten psql'; BEGIN; SELECT 1`)
    const options = { url, limits: ANY_AGE }
    const role = new URL(url).username
    const expected = new RegExp(
      `^pid \\d+ \\(a forgotten psql, role ${role}, from 127\\.0\\.0\\.1\\) has a transaction open for (\\d\\.\\d s|\\d+ ms), idle in transaction`,
    )
    await isSilent('long_transactions', { url })
    await findsAndMends('long_transactions', expected, options, sql)
  })

  await t.test('a transaction of a role that may not be seen counts as not looked at', async () => {
    const { url: plain } = await plainRole(t, database)
    const client = await database.client()
    await client.query('BEGIN; SELECT 1')
    const { findings, status } = await examined('long_transactions', { url: plain, limits: ANY_AGE })
    assert.equal(status, 'found')
    assert.deepEqual(
      findings.map(({ severity }) => severity),
      ['unseen'],
    )
    assert.match(findings[0]?.seen ?? '', /^\d+ sessions of other roles: /)
    assert.match(findings[0]?.remedy ?? '', /^GRANT pg_read_all_stats TO /)
    await client.query('ROLLBACK')
  })

  await t.test('a prepared transaction that nobody ended', async () => {
    await sql.query(`BEGIN; CREATE TABLE half_done (id int); PREPARE TRANSACTION 'it''s ${name}'`)
    await isSilent('prepared_transactions', { url })
    const { remedy } = await finds(
      'prepared_transactions',
      /"it's test_.*" of \w+ waits for (\d\.\d s|\d+ ms)/,
      {
        url,
        limits: ANY_AGE,
      },
    )
    await sql.query(remedy.split(', or')[0] ?? '')
    await isSilent('prepared_transactions', { url, limits: ANY_AGE })
  })

  await t.test('a replication slot that nobody reads', async () => {
    const slot = `left_${name}`
    await sql.query(`SELECT pg_create_physical_replication_slot('${slot}', true)`)
    const { findings } = await examined('replication_slots', { url })
    const found = findings.find(({ seen }) => seen.includes(slot))
    assert.match(
      found?.seen ?? '',
      /nobody reads the physical replication slot .*: it keeps \d+ \w+ log of writes/,
    )
    await sql.query(found?.remedy ?? '')
    const { findings: left } = await examined('replication_slots', { url })
    assert.equal(left.length, findings.length - 1)
  })
})
