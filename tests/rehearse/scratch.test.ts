import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { resolveConfig } from '../../src/config/validate.ts'
import { sqlPath } from '../../src/db/folder.ts'
import { leftIn, requireNoTables, requireScratch } from '../../src/rehearse/scratch.ts'
import { createDatabase } from '../support/database.ts'

const { pollers } = resolveConfig({
  pollers: { p: { source: { table: 'source', id: 'id', createdAt: 'at' } } },
})
const INSTANCE = `INSERT INTO service_ops.runner_instance (instance_id, holder, machine_id, release, state, last_seen_at)
  VALUES ($1, gen_random_uuid(), $2, 'r', 'stopped', now() - interval '1 day')`

async function world(t: TestContext, migrated: boolean) {
  const client = await (await createDatabase(t, { migrated })).client()
  const record = () => client.query(readFileSync(sqlPath('rehearse/1_tables.sql'), 'utf8'))
  return { client, record }
}

describe('a database that DATABASE_URL names', () => {
  test('is none for the demo once somebody has a table or a view there', async (t) => {
    const { client, record } = await world(t, true)
    await record()
    await requireNoTables(client)
    await client.query('CREATE SCHEMA "My shop"; CREATE TABLE "My shop".orders (id int)')
    await assert.rejects(requireNoTables(client), {
      name: 'RehearsalImpossible',
      message: /such as "My shop"\.orders, .*: unset DATABASE_URL, .* or name a scratch database/,
    })
  })

  test('is to be cleared by dropping our schemas only where nobody but rehearsals ever was', async (t) => {
    const { client, record } = await world(t, true)
    await client.query('CREATE TABLE source (id int, at timestamptz); INSERT INTO source VALUES (1)')
    const refusal = async (): Promise<string> =>
      requireScratch(client, pollers).then(
        () => '',
        (error: unknown) => String(error),
      )
    assert.match(await refusal(), /"source" has rows/)
    assert.doesNotMatch(await refusal(), /DROP/, 'no rehearsal was here')
    assert.equal(await leftIn(client, pollers), undefined)

    await record()
    await client.query(INSTANCE, ['a', 'green3-2'])
    assert.match(await refusal(), /DROP SCHEMA service_ops, pgboss, tidemark_rehearsal CASCADE/)
    assert.match(
      (await leftIn(client, pollers)) ?? '',
      /^Left in .*: schemas service_ops, .*tidemark_rehearsal, and rows in "source"; DROP SCHEMA/,
    )

    await client.query(INSTANCE, ['b', '148ed193b95e89'])
    assert.doesNotMatch(await refusal(), /DROP/, 'an app of somebody’s was')
    assert.doesNotMatch((await leftIn(client, pollers)) ?? 'DROP', /DROP/)
  })
})
