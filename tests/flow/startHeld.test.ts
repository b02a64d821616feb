import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { Client } from 'pg'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import type { Instance } from '../support/instance.ts'
import { useServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const CONFIG = `export default {
  pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } },
  processors: { reader: { from: 'arrivals', contract: 'external', handle() {} } },
}`

const SOURCE =
  'CREATE TABLE arrival (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())'

const OUTAGE_MS = 2_500

async function says(one: Instance, status: string): Promise<void> {
  await until(`/ready to say ${status}`, async () => {
    const answer = (await (await fetch(`${one.address}/ready`)).json()) as { status: string }
    return answer.status === status
  })
}

describe('a start beside a transaction that somebody forgot', () => {
  const HELD = {
    'service_ops.background_task': `UPDATE service_ops.background_task SET paused = false WHERE task_name = 'arrivals'`,
    'service_ops.runner_instance': 'LOCK TABLE service_ops.runner_instance IN EXCLUSIVE MODE',
  }
  test('waits, says which table and whose, and is ready once that has ended', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const pool = database.pool()
    await pool.query(SOURCE)
    const options = { databaseUrl: database.url, config: CONFIG, env: { DB_LOCK_TIMEOUT_SECONDS: '1' } }
    const blue = await startInstance(t, options)
    await blue.said('ready')
    for (const [table, sql] of Object.entries(HELD)) {
      const person = await database.client()
      await person.query(`SET application_name = 'a person'; BEGIN; ${sql}`)
      const { rows } = await person.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      const pid = rows[0]?.pid ?? 0
      const green = await startInstance(t, options)
      const line = await green.said('start_waits', { table, pid, application: 'a person' })
      assert.ok(line.msg.includes(table) && line.msg.includes(`pg_terminate_backend(${pid})`), line.msg)
      await says(green, 'starting')
      await person.query('ROLLBACK')
      await green.said('ready')
      green.kill('SIGTERM')
      assert.equal((await green.exited).code, 0)
    }
  })
})

describe('an outage while an instance waits', () => {
  test('for the schema, or for the migration lock, ends neither', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
    let server = await useServer(folder, { durable: false })
    const { port } = new URL(server.url)
    t.after(() =>
      t.after(async () => {
        await server.leave()
        rmSync(folder, { recursive: true, force: true })
      }),
    )
    const holder = new Client({ connectionString: server.url })
    holder.on('error', () => undefined)
    await holder.connect()
    await holder.query(`${SOURCE}; SELECT pg_advisory_lock(hashtextextended('tidemark:migrate', 0))`)
    const start = (env: Record<string, string>) =>
      startInstance(t, { databaseUrl: server.url, config: CONFIG, env })
    const both = await Promise.all([start({ RUN_MIGRATIONS: '0' }), start({})])
    const [looks, migrates] = both
    await looks.said('schema_incompatible')
    await migrates.said('migration_lock_busy')
    await server.leave()
    const gone = Date.now()
    await says(migrates, 'database_unavailable')
    for (const one of both) await one.said('start_waits', { class: 'connection' })
    await until('the outage to last', () => Date.now() - gone >= OUTAGE_MS)
    server = await useServer(folder, { durable: false, port: Number(port) })
    for (const one of both) {
      await one.said('ready')
      assert.equal(one.of('database_lost').length, 1, 'said once')
      assert.deepEqual([...one.of('migration_failed'), ...one.of('start_failed')], [])
      one.kill('SIGTERM')
      assert.equal((await one.exited).code, 0)
    }
  })
})
