import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Pool, PoolClient } from '../../src/db/pool.ts'
import { giveBack } from '../../src/jobs/jobRows.ts'
import { until } from '../support/until.ts'
import { createBosses, jobsOf } from './bosses.ts'

const FAST = { pollingIntervalSeconds: 0.5 }

/** A handler that never ends of its own accord, as one that ignores its signal. */
function stuck(): { handler: () => Promise<void>; started: Promise<unknown>; end: () => void } {
  const started = Promise.withResolvers<undefined>()
  const ended = Promise.withResolvers<undefined>()
  const handler = async (): Promise<void> => {
    started.resolve(undefined)
    await ended.promise
  }
  return { handler, started: started.promise, end: () => ended.resolve(undefined) }
}

/** Counts the statements by which pg-boss ends a job, from now on, as they are answered. */
function countEnds(pool: Pool): { answered: number } {
  const ends = { answered: 0 }
  const known = new WeakSet<PoolClient>()
  const connect = pool.connect.bind(pool)
  Object.assign(pool, {
    async connect() {
      const client = await connect()
      if (known.has(client)) return client
      known.add(client)
      const query = client.query.bind(client)
      return Object.assign(client, {
        async query(text: string, values?: unknown[]) {
          const answer = await query(text, values)
          if (text.includes("state = 'completed'")) ends.answered += 1
          return answer
        },
      })
    },
  })
  return ends
}

test('stop gives back a running job with its retries unburned, and quickly', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  await boss.pg.createQueue('q', { policy: 'exclusive', retryLimit: 0 })
  const { handler, started, end } = stuck()
  await boss.work('q', FAST, handler)
  await boss.pg.send('q')
  await started
  const ends = countEnds(boss.own)
  const start = performance.now()
  const stopped = await boss.stop({ graceMs: 100 })
  const tookMs = Math.round(performance.now() - start)
  assert.deepEqual(stopped, { givenBack: 1 }, `after ${tookMs} ms; ${JSON.stringify(bosses.lines)}`)
  t.diagnostic(`it stopped after ${tookMs} ms`)
  assert.ok(tookMs < 30_000)
  const [job] = await jobsOf(bosses.pool, 'q')
  assert.deepEqual([job?.state, job?.retry_count], ['created', 0])
  // The next attempt has a number of its own and as many retries left as before.
  const other = await bosses.boss()
  const [again] = await other.pg.fetch('q', { includeMetadata: true })
  assert.deepEqual([again?.retryCount, again?.retryLimit], [1, 1])
  end()
  // pg-boss takes the lost attempt for one that has ended; what it says of it changes nothing.
  await until('its word', () => ends.answered === 1)
  assert.equal((await jobsOf(bosses.pool, 'q'))[0]?.state, 'active')
})

test('stop waits for a job that ends within its grace', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  await boss.pg.createQueue('q')
  const { handler, started, end } = stuck()
  await boss.work('q', FAST, handler)
  await boss.pg.send('q')
  await started
  const stopping = boss.stop({ graceMs: 10_000 })
  end()
  assert.deepEqual(await stopping, { givenBack: 0 })
  assert.equal((await jobsOf(bosses.pool, 'q'))[0]?.state, 'completed')
})

test('stop is bounded when the database no longer answers', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  await boss.pg.createQueue('q')
  const { handler, started, end } = stuck()
  await boss.work('q', FAST, handler)
  await boss.pg.send('q')
  await started
  t.after(end)
  // As when the host vanished: what is asked is never answered.
  const silence = Promise.withResolvers<never>()
  silence.promise.catch(() => undefined)
  t.after(() => silence.reject(new Error('the test is over')))
  Object.assign(boss.own, { connect: () => silence.promise, query: () => silence.promise })
  const start = performance.now()
  await boss.stop({ graceMs: 100 })
  const tookMs = Math.round(performance.now() - start)
  t.diagnostic(`it stopped after ${tookMs} ms`)
  assert.ok(tookMs < 60_000)
})

test('a job given back is fenced: a late word about the old attempt changes nothing', async (t) => {
  const bosses = await createBosses(t)
  const { pg } = await bosses.boss()
  await pg.createQueue('q', { policy: 'stately', retryLimit: 0 })
  await pg.send('q')
  const [first] = await pg.fetch('q')
  assert.ok(first !== undefined)
  const old = { queue: 'q', ...first }
  assert.equal(await giveBack(bosses.pool, old), 'created')
  assert.equal(await giveBack(bosses.pool, old), 'lost')
  await pg.fetch('q')
  await pg.complete('q', first)
  await pg.fail('q', first)
  assert.equal(await giveBack(bosses.pool, old), 'lost')
  const [job] = await jobsOf(bosses.pool, 'q')
  assert.deepEqual([job?.state, job?.retry_count], ['active', 1])
})

test('a stately job is not given back beside one that is queued already', async (t) => {
  const bosses = await createBosses(t)
  const { pg } = await bosses.boss()
  await pg.createQueue('q', { policy: 'stately', retryLimit: 0 })
  await pg.send('q')
  const [first] = await pg.fetch('q')
  assert.ok(first !== undefined)
  assert.notEqual(await pg.send('q'), null)
  assert.equal(await giveBack(bosses.pool, { queue: 'q', ...first }), 'cancelled')
  assert.deepEqual(
    (await jobsOf(bosses.pool, 'q')).map(({ state }) => state),
    ['cancelled', 'created'],
  )
})

test('finish completes and sends in one transaction', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  await boss.pg.createQueue('q', { policy: 'exclusive' })
  await boss.pg.send('q')
  const [first] = await boss.pg.fetch('q', { includeMetadata: true })
  assert.ok(first !== undefined)
  const held = {
    queue: 'q',
    id: first.id,
    retryCount: first.retryCount,
    data: null,
    singletonKey: null,
    rootId: first.id,
    dueAt: first.startAfter,
    fetchedAt: first.startedOn,
  }
  await assert.rejects(boss.finish(held, { queue: 'nowhere', options: {} }))
  assert.deepEqual(
    (await jobsOf(bosses.pool, 'q')).map(({ state }) => state),
    ['active'],
  )
  await boss.finish(held, { queue: 'q', options: { startAfter: 60 } })
  assert.deepEqual(
    (await jobsOf(bosses.pool, 'q')).map(({ state }) => state),
    ['completed', 'created'],
  )
  // Nothing is left open on the pool after the one that failed.
  await until('all connections to be idle', () => boss.own.counts.total === boss.own.counts.idle)
})

test('health tells of stopped workers and of errors, and no error ends the process', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  await boss.pg.createQueue('q')
  await boss.work('q', FAST, () => Promise.resolve())
  assert.deepEqual(boss.health(), { status: 'ok', detail: '' })
  await bosses.hands.query('ALTER TABLE pgboss.job_common RENAME TO job_away')
  await until('an error', () => boss.health().status === 'degraded')
  assert.match(boss.health().detail, /^pg-boss reported an error \(\w+\); the log has its text$/)
  await bosses.hands.query('ALTER TABLE pgboss.job_away RENAME TO job_common')
  const missing = bosses.lines.filter(({ event }) => event === 'table_missing')
  assert.deepEqual(
    missing.map(({ level, table, command }) => [level, table, command]),
    [['critical', 'pgboss', 'tidemark migrate']],
  )

  const other = await bosses.boss()
  await other.work('q', FAST, () => Promise.resolve())
  await other.stopFetching()
  assert.match(other.health().detail, /worker of q is stopped/)
  await other.stop()
  assert.match(other.health().detail, /not running/)
})

test('an error that every worker meets is one line, and the database’s absence is none', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  for (const worker of ['one', 'two', 'one', 'two'])
    boss.pg.emit('error', new Error(`no room left (Queue: q, Worker: ${worker})`))
  boss.pg.emit('error', new Error('Connection terminated unexpectedly'))
  assert.deepEqual(
    bosses.lines.filter(({ event }) => event === 'loop_failed').map(({ text }) => text),
    ['no room left (Queue: q, Worker: one)'],
  )
  assert.equal(boss.health().status, 'degraded')
})

test('a connection that dies between statements or inside a transaction hurts nobody', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const kill = (pid: unknown): Promise<unknown> => bosses.pool.query('SELECT pg_terminate_backend($1)', [pid])
  const transaction = await boss.pg.getDb().beginTransaction?.()
  assert.ok(transaction !== undefined)
  const { rows } = await transaction.db.executeSql('SELECT pg_backend_pid() AS pid')
  await kill((rows as { pid: number }[])[0]?.pid)
  await assert.rejects(transaction.db.executeSql('SELECT 1'))
  await transaction.rollback()
  await assert.rejects(transaction.commit(), /settled/)
  // A script that fails between BEGIN and COMMIT takes its connection along.
  await assert.rejects(boss.pg.getDb().executeSql('BEGIN; SELECT 1/0; COMMIT'))
  const { rows: clean } = await boss.own.query<{ alone: boolean }>(
    'SELECT now() = statement_timestamp() AS alone',
  )
  assert.equal(clean[0]?.alone, true)
})

test('LISTEN wakes a worker of a queue with notify at once', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss({ listen: true })
  await boss.pg.createQueue('q', { notify: true })
  const heard = Promise.withResolvers<number>()
  await boss.work('q', { pollingIntervalSeconds: 60, notifyPollingIntervalSeconds: 60 }, () => {
    heard.resolve(performance.now())
    return Promise.resolve()
  })
  // The worker's first look finds nothing, and its next one would be in a minute.
  await until('the first look', () => boss.pg.getWipData()[0]?.lastFetchedOn != null)
  const start = performance.now()
  const other = await bosses.boss()
  await other.pg.send('q')
  const tookMs = Math.round((await heard.promise) - start)
  t.diagnostic(`it was woken after ${tookMs} ms`)
  assert.ok(tookMs < 30_000)
})

test('what pg-boss warns of is one line each, without the statement and its values', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const warning = { message: 'Warning: a slow query', data: { sql: 'SELECT $1', values: ['secret'] } }
  boss.pg.emit('warning', warning)
  boss.pg.emit('warning', warning)
  boss.pg.emit('warning', { ...warning, message: 'Warning: a backlog' })
  const said = bosses.lines.filter(({ event }) => event === 'queue_warning')
  assert.deepEqual(
    said.map(({ level, msg }) => [level, msg]),
    [
      ['warn', 'pg-boss: Warning: a slow query'],
      ['warn', 'pg-boss: Warning: a backlog'],
    ],
  )
  assert.doesNotMatch(JSON.stringify(said), /SELECT|secret/)
})

test('a tick of a schedule that a dead instance had on its way is sent again within a minute or two', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const ticks = '__pgboss__send-it'
  await boss.pg.createQueue('q')
  await boss.pg.send(ticks, { name: 'q' })
  // Another process fetches it and dies.
  const taken = await until('the tick', async () => {
    const { rows } = await bosses.pool.query<{ limit: number }>(
      `UPDATE pgboss.job SET state = 'active', started_on = now() - interval '16 seconds'
        WHERE name = $1 AND state = 'created' RETURNING expire_seconds AS limit`,
      [ticks],
    )
    return rows[0]
  })
  assert.equal(taken.limit, 15)
  await boss.pg.supervise(ticks)
  await until('the tick to be sent', async () => (await jobsOf(bosses.pool, 'q')).length === 1)
})

test('a tick of a schedule is sent on within seconds, although the worker of ticks looks seldom by itself', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  await boss.pg.createQueue('q')
  for (const ticks of [1, 2, 3]) {
    await boss.pg.send('__pgboss__send-it', { name: 'q' })
    // Of its own accord it would look three quarters of a minute after the one before.
    await until(`tick ${ticks}`, async () => (await jobsOf(bosses.pool, 'q')).length === ticks, 20_000)
  }
})
