import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { CODE_SCHEMA_VERSION } from '../../src/db/migrate.ts'
import { cloneProject } from '../support/clone.ts'
import { openShop } from './shop.ts'

/* Expand now, contract later: a migration that older releases do not survive is applied when none of them is left. */

const NEXT = CODE_SCHEMA_VERSION + 1

test('migrations that close the window wait for the step of their own', async (t) => {
  const shop = await openShop(t)
  assert.equal((await shop.script('deploy', ['migrate', 'deploy', 'wait'])).code, 0)
  const newer = cloneProject(t)
  writeFileSync(
    join(newer, `sql/migrations/${NEXT}_contract.sql`),
    `DO $$ BEGIN
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (${NEXT}, ${CODE_SCHEMA_VERSION}) ON CONFLICT DO NOTHING;
END $$;\n`,
  )
  const later = await openShop(t, { root: newer })
  const here = { DATABASE_URL: shop.databaseUrl }
  const window = async (): Promise<unknown> => {
    const { rows } = await shop.pool.query<{ served: string }>(
      'SELECT max(schema_version) || $1 || max(oldest_code) AS served FROM service_ops.schema_window',
      [' from '],
    )
    return rows[0]?.served
  }
  const refused = await later.script('deploy', ['migrate'], here)
  assert.equal(refused.code, 12, refused.stdout + refused.stderr)
  assert.match(
    refused.stderr,
    new RegExp(`releases before schema version ${CODE_SCHEMA_VERSION}.*--contract`),
  )
  assert.equal(await window(), `${CODE_SCHEMA_VERSION} from 5`)

  await shop.pool.query(
    `INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, last_seen_at)
     VALUES ('old', gen_random_uuid(), 'older', 'ready', clock_timestamp() + interval '1 minute')`,
  )
  const two = await later.script('deploy', ['--contract'], here)
  assert.equal(two.code, 17, two.stdout + two.stderr)
  assert.match(two.stderr, /more than one release is at work: deployment-1 older/)
  await shop.pool.query(`UPDATE service_ops.runner_instance SET state = 'stopped' WHERE instance_id = 'old'`)

  const done = await later.script('deploy', ['--contract'], here)
  assert.equal(done.code, 0, done.stdout + done.stderr)
  assert.match(done.stdout, new RegExp(`from version 5 on, and then from ${CODE_SCHEMA_VERSION} on`))
  assert.equal(await window(), `${NEXT} from ${CODE_SCHEMA_VERSION}`)
  const again = await later.script('deploy', ['--contract'], here)
  assert.match(again.stdout, /nothing to clean up/)
  shop.kill()
})
