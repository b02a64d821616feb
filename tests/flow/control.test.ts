import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Pool } from 'pg'
import { PgBoss } from 'pg-boss'
import { createBossDatabase } from '../../src/jobs/database.ts'
import { createPool } from '../../src/db/pool.ts'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import type { Instance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/*
 * Pauses as operators make them, on two real processes: by SQL, by HTTP and by the command line, through restarts and
 * a kill. What is paused stays so until somebody resumes it.
 */

const TOKEN = 'operators-may-do-this'

/** Effective within 2 s is promised of a quiet machine; ten times that only catches a hang. */
const LIMIT_MS = 20_000

const CONFIG = `
  export default {
    pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } },
    processors: {
      reader: {
        from: 'arrivals', contract: 'transactional',
        async handle(message, { tx }) { await tx.query('INSERT INTO handled VALUES ($1)', [message.messageId]) },
      },
    },
    jobs: { digest: { cron: '0 3 1 1 *', async handle() { console.error(JSON.stringify({ ran: 'digest' })) } } },
  }`

const TASKS = ['arrivals', 'reader', 'digest'] as const

async function world(t: TestContext) {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(`CREATE TABLE arrival (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
                   CREATE TABLE handled (id text PRIMARY KEY)`)
  const own = createPool({
    url: database.url,
    applicationName: 'test',
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs: 10_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
    max: 2,
  })
  t.after(() => own.end())
  const boss = new PgBoss({
    db: createBossDatabase(own),
    schema: 'pgboss',
    supervise: false,
    schedule: false,
  })
  boss.on('error', () => undefined)
  const start = async (): Promise<Instance> => {
    const instance = await startInstance(t, {
      databaseUrl: database.url,
      config: CONFIG,
      env: { ADMIN_TOKEN: TOKEN },
    })
    await instance.said('ready')
    return instance
  }
  const count = async (table: string): Promise<number> =>
    Number((await sql.query<{ n: string }>(`SELECT count(*) AS n FROM ${table}`)).rows[0]?.n)
  return {
    sql,
    url: database.url,
    start,
    count,
    arrive: () => sql.query('INSERT INTO arrival DEFAULT VALUES'),
    sendJob: () => boss.send('job.digest'),
    cli: (...args: string[]) => tidemark(args, { env: { DATABASE_URL: database.url } }),
  }
}

/** From the moment before the change to the last instance's word that it heard. */
async function heard(
  instances: readonly Instance[],
  event: 'task_paused' | 'task_resumed',
  task: string,
  since: number,
): Promise<number> {
  const at = await Promise.all(
    instances.map((instance) =>
      until(
        `${instance.id} to say ${event} of ${task}`,
        () => instance.of(event, { task }).find((line) => line.at >= since - 1)?.at,
        LIMIT_MS,
      ),
    ),
  )
  return Math.max(...at) - since
}

async function post(instance: Instance, path: string): Promise<number> {
  const { status } = await fetch(`${instance.address}/admin/${path}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${TOKEN}`, From: 'ann@example.org' },
  })
  return status
}

async function actions(sql: Pool): Promise<string[]> {
  const { rows } = await sql.query<{ line: string }>(
    `SELECT concat_ws(' ', how, action, target) AS line FROM service_ops.operator_action ORDER BY action_id`,
  )
  return rows.map(({ line }) => line)
}

test('what is paused stays paused on every instance, through restarts and a kill, however it was paused', async (t) => {
  const { sql, start, count, arrive, sendJob, cli } = await world(t)
  let one = await start()
  let two = await start()
  await arrive()
  await until('the first row to be handled', async () => (await count('handled')) === 1, LIMIT_MS)

  // One by each way.
  let since = Date.now()
  await sql.query(`UPDATE service_ops.background_task SET paused = true WHERE task_name = 'reader'`)
  t.diagnostic(`by SQL: both know after ${await heard([one, two], 'task_paused', 'reader', since)} ms`)
  since = Date.now()
  assert.equal(await post(two, 'tasks/arrivals/pause'), 202)
  t.diagnostic(`by HTTP: both know after ${await heard([one, two], 'task_paused', 'arrivals', since)} ms`)
  since = Date.now()
  const said = await cli('pause', 'digest')
  assert.deepEqual([said.code, said.stderr], [0, ''])
  assert.match(said.stdout, /^digest is paused/)
  t.diagnostic(
    `by CLI, its start included: both know after ${await heard([one, two], 'task_paused', 'digest', since)} ms`,
  )
  assert.deepEqual(await actions(sql), ['sql pause reader', 'http pause arrivals', 'cli pause digest'])

  // Something for each of them to do.
  await arrive()
  await sql.query(
    `INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id) VALUES ('arrivals', 'by-hand', '{}', 't')`,
  )
  await sendJob()
  const still = async (): Promise<void> => {
    const made = await sql.query(
      `SELECT FROM service_ops.poll_run WHERE outcome <> 'missed' AND started_at > (SELECT max(at) FROM service_ops.operator_action)`,
    )
    assert.deepEqual(
      [await count('handled'), made.rowCount, jobRuns(one) + jobRuns(two)],
      [1, 0, 0],
      'nothing is begun',
    )
  }
  const settled = async (): Promise<void> => {
    await until(
      'a leader that lets passes fall',
      async () => {
        const { rowCount } = await sql.query(
          `SELECT FROM service_ops.poll_run r JOIN service_ops.background_task_leader l ON l.task_name = r.poller AND l.term = r.term
          WHERE r.outcome = 'missed' AND l.expires_at > clock_timestamp()`,
        )
        return rowCount === 1
      },
      60_000,
    )
    await still()
  }
  await settled()

  await t.test('a restart, of which the new instance knows before it begins anything', async () => {
    one.kill('SIGTERM')
    assert.equal((await one.exited).code, 0)
    one = await start()
    for (const task of TASKS) assert.equal(one.of('task_paused', { task }).length, 1, task)
    await settled()
  })
  await t.test('a kill of the other', async () => {
    two.kill('SIGKILL')
    await two.exited
    two = await start()
    for (const task of TASKS) assert.equal(two.of('task_paused', { task }).length, 1, task)
    await settled()
  })
  await t.test('status tells, and asking for a pass is refused', async () => {
    const status = await cli('status', '--json')
    const { pollers, processors, jobs } = JSON.parse(status.stdout) as Record<
      string,
      { paused: boolean; paused_by: string | null }[]
    >
    assert.deepEqual(
      pollers?.map(({ paused, paused_by: by }) => [paused, by]),
      [[true, 'ann@example.org']],
    )
    assert.deepEqual([processors?.[0]?.paused, jobs?.[0]?.paused], [true, true])
    const poll = await cli('poll', 'arrivals')
    assert.equal(poll.code, 1)
    assert.match(poll.stderr, /arrivals is paused by ann@example\.org and makes no pass/)
    assert.equal(await post(one, 'tasks/arrivals/poll'), 409)
  })

  // Crosswise: a task need not be resumed the way that it was paused.
  since = Date.now()
  assert.equal((await cli('resume', 'reader')).code, 0)
  await heard([one, two], 'task_resumed', 'reader', since)
  await until('the message by hand to be handled', async () => (await count('handled')) === 2, LIMIT_MS)
  await sql.query(`UPDATE service_ops.background_task SET paused = false WHERE task_name = 'arrivals'`)
  await until('the row that waited', async () => (await count('handled')) === 3, LIMIT_MS)
  assert.equal(await post(one, 'tasks/digest/resume'), 202)
  await until('the run that waited', () => jobRuns(one) + jobRuns(two) === 1, LIMIT_MS)
  assert.deepEqual((await actions(sql)).slice(3), [
    'cli resume reader',
    'sql resume arrivals',
    'http resume digest',
  ])
})

function jobRuns(instance: Instance): number {
  return instance.of('job_done', { job: 'digest' }).length
}
