import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { resolveConfig } from '../../src/config/validate.ts'
import { createPool } from '../../src/db/pool.ts'
import { retryRefused } from '../../src/runner/refused.ts'
import { registerAll } from '../../src/runner/registration.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

const LIMITS = { statementTimeoutMs: 5_000, lockTimeoutMs: 5_000, idleInTransactionMs: 5_000 }

test('a refused poller is looked at again: each reason is said once, that it works is said, and what needs a new config rests', async (t) => {
  const database = await createDatabase(t)
  const sql = database.pool()
  const pool = createPool({
    url: database.url,
    applicationName: 'test',
    connectTimeoutMs: 5_000,
    limits: LIMITS,
    max: 2,
  })
  t.after(() => pool.end())
  const source = (table: string) => ({ source: { table, id: 'id', createdAt: 'at' } })
  const config = resolveConfig({ pollers: { shop: source('shop'), old: source('old') } })
  const lines: { event: string; msg: string; task?: string }[] = []
  const sink = { write: (text: string) => void lines.push(JSON.parse(text) as (typeof lines)[number]) }
  const log = createLog({ service: 'test', instanceId: 'test', sink })
  const { refused } = await registerAll(pool, config, '1', log)
  const started: string[] = []
  const retry = retryRefused({
    pool,
    refused,
    release: '1',
    log,
    everyMs: 5,
    onStarted: ({ poller }) => started.push(poller.name),
  })
  t.after(() => retry.stop())
  const said = (task: string): string[] =>
    lines.filter((line) => line.task === task).map(({ event, msg }) => `${event} ${msg}`)
  const times = (task: string, count: number) =>
    until(`${task} line ${count}`, () => said(task).length >= count)

  assert.deepEqual(retry.names, ['shop', 'old'])
  await sql.query('CREATE TABLE shop (id int)')
  await times('shop', 2)
  await sql.query('DROP TABLE shop')
  await times('shop', 3)
  // With rows older than the retention, this one asks for a startFrom.
  await sql.query(
    `CREATE TABLE old (id int, at timestamptz DEFAULT now()); INSERT INTO old VALUES (1, '2020-01-01Z')`,
  )
  await times('old', 2)
  await sql.query('TRUNCATE old; CREATE TABLE shop (id int, at timestamptz NOT NULL DEFAULT now())')
  await times('shop', 4)

  const expected = [
    /^task_failed_to_start shop failed to start: .*there is no such table/,
    /^task_failed_to_start shop failed to start: .*has no column at/,
    /^task_failed_to_start shop failed to start: .*there is no such table/,
    /^task_started shop started: its source can be read now/,
  ]
  assert.equal(said('shop').length, expected.length, said('shop').join('\n'))
  for (const [i, line] of said('shop').entries()) assert.match(line, expected[i] ?? /no/)
  assert.match(said('old').join('\n'), /no such table.*\n.*set startFrom to 'beginning'/)
  assert.equal(said('old').length, 2)
  assert.deepEqual([started, retry.names], [['shop'], ['old']])
})

test('in a running instance it polls from then on, and whoever asks for a pass makes it look at once', async (t) => {
  const database = await createDatabase(t)
  const sql = database.pool()
  const instance = await startInstance(t, {
    databaseUrl: database.url,
    config: `export default {
      pollers: { shop: { source: { table: 'shop', id: 'id', createdAt: 'at' }, every: '1s' } },
      processors: { reader: { from: 'shop', contract: 'external', handle() {} } } }`,
  })
  await instance.said('ready')
  const failed = async (): Promise<unknown> => {
    const { checks } = (await (await fetch(`${instance.address}/health`)).json()) as {
      checks: { pollers: { status: string; failed_to_start: string[] } }
    }
    return [checks.pollers.status, checks.pollers.failed_to_start]
  }
  assert.deepEqual(await failed(), ['degraded', ['shop']])
  await sql.query(`CREATE TABLE shop (id int, at timestamptz NOT NULL DEFAULT now()); INSERT INTO shop VALUES (1);
                   SELECT pg_notify('tidemark_poll', 'shop')`)
  await instance.said('task_started_as_leader', { task: 'shop' })
  await instance.said('message_done', { message_id: '1' })
  // An answer stands for a moment.
  await until('its health to tell', async () => isDeepStrictEqual(await failed(), ['ok', []]))
  assert.equal(instance.of('task_failed_to_start').length, 1)
  instance.kill('SIGTERM')
  assert.equal((await instance.exited).code, 0)
  assert.equal(instance.of('leader_handed_over', { task: 'shop' }).length, 1)
})
