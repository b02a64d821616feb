import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { readScrape, scrape } from '../support/exposition.ts'
import type { Scrape } from '../support/exposition.ts'
import { startInstance } from '../support/instance.ts'
import { promtool, promtoolMissing } from '../support/promtool.ts'
import { relay } from '../support/relay.ts'
import { until } from '../support/until.ts'

const TOKEN = 'the-token-of-a-sender'

/** Bad ones are DEAD at once, slow ones never end; two of a key at once. */
const CONFIG = `export default {
  pollers: { orders: { source: { table: 'arrival', id: 'id', createdAt: 'at', payload: ['kind'], groupKey: 'shop' }, every: '1s' } },
  intakes: { letters: {} },
  processors: {
    packer: { from: 'orders', contract: 'external', maxAttempts: 1, slots: { perKey: 2 }, async handle({ payload: { kind } }, { signal }) {
      if (kind === 'bad') throw new TypeError('no such item')
      if (kind === 'slow') await new Promise((_, end) => signal.addEventListener('abort', () => end(signal.reason)))
    } },
    reader: { from: 'letters', contract: 'transactional', handle() {} },
  },
}`

const TABLE =
  'CREATE TABLE arrival (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), kind text, shop text)'

/** Promised are 2 s; a busy machine is slow. */
const ANSWER_MS = 8_000

async function world(t: TestContext) {
  const database = await createDatabase(t, { migrated: false })
  const sql = database.pool()
  await sql.query(TABLE)
  const way = await relay(t, database.url)
  await way.open()
  const instance = await startInstance(t, {
    databaseUrl: way.url,
    config: CONFIG,
    env: { INTAKE_TOKEN: TOKEN, RELEASE: 'blue' },
  })
  await instance.said('ready')
  const write = (kind: string, shop: string, count: number) =>
    sql.query('INSERT INTO arrival (kind, shop) SELECT $1, $2 FROM generate_series(1, $3::int)', [
      kind,
      shop,
      count,
    ])
  const send = (source: string) =>
    fetch(`${instance.address}/inbox/${source}`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ message_id: 'a', payload: {} }),
    })
  return { sql, way, instance, write, send }
}

/** `a=x,b=y` as an object. */
const labelsOf = (text: string): Record<string, string> =>
  Object.fromEntries(
    text.split(',').flatMap((pair) => {
      const [label = '', value = ''] = pair.split('=')
      return label === '' ? [] : [[label, value] as const]
    }),
  )

const depth = (read: Scrape, status: string, source = 'orders') =>
  read.value('tidemark_queue_depth', { source, status })

async function inTime<T>(slowest: { ms: number }, ask: () => Promise<T>): Promise<T> {
  const askedAt = performance.now()
  const answer = await ask()
  slowest.ms = Math.max(slowest.ms, performance.now() - askedAt)
  assert.ok(slowest.ms < ANSWER_MS, `an answer took ${Math.round(slowest.ms)} ms`)
  return answer
}

test('what an instance did, and what is in the database, is in its metrics; while the database is away nothing of that is', async (t) => {
  const { sql, way, instance, write, send } = await world(t)
  await write('good', 'a', 5)
  await write('bad', 'b', 2)
  await write('slow', 'c', 3)
  assert.equal((await send('letters')).status, 202)
  assert.equal((await send('letters')).status, 202)
  assert.equal((await send('nowhere')).status, 404)

  const read = await until('the metrics of what was done', async () => {
    const read = await scrape(instance.address)
    const isThere =
      depth(read, 'PROCESSING') === 2 &&
      depth(read, 'DEAD') === 2 &&
      depth(read, 'NEW') === 1 &&
      read.value('tidemark_messages_processed_total', { source: 'letters' }) === 1 &&
      read.value('tidemark_verify_ok', { check: 'one_leader_per_term' }) !== undefined
    return isThere ? read : undefined
  })
  const values = {
    tidemark_messages_taken_in_total: { 'source=orders': 10, 'source=letters': 1 },
    tidemark_messages_processed_total: { 'source=orders': 5, 'source=letters': 1 },
    tidemark_messages_failed_total: { 'source=orders': 2, 'source=letters': 0 },
    tidemark_messages_dead_total: { 'source=orders': 2 },
    tidemark_message_latency_seconds_count: { 'source=orders': 5 },
    tidemark_handler_duration_seconds_count: { 'source=orders': 7 },
    tidemark_slots_in_use: { 'source=orders,group_key=c': 2, 'source=orders,group_key=a': undefined },
    tidemark_messages_stuck: { 'source=orders': 0 },
    tidemark_poll_rows_total: { 'poller=orders': 10 },
    tidemark_poll_runs_total: { 'poller=orders,outcome=failed': 0 },
    tidemark_poll_interval_seconds: { 'poller=orders': 1 },
    tidemark_is_leader: { 'task=orders': 1 },
    tidemark_leader_changes_total: { 'task=orders,reason=elected': 1, 'task=orders,reason=took_over': 0 },
    tidemark_intake_requests_total: { 'source=letters,status=202': 2, 'source=unknown,status=404': 1 },
    tidemark_instances: { 'state=ready,release=blue': 1, 'state=lost,release=blue': 0 },
    tidemark_database_up: { '': 1 },
    tidemark_ready: { '': 1 },
    tidemark_build_info: { 'version=0.1.0,release=blue': 1 },
  }
  for (const [name, series] of Object.entries(values))
    for (const [labels, value] of Object.entries(series))
      assert.equal(read.value(name, labelsOf(labels)), value, `${name}{${labels}}`)
  const failing = [...read.samples].filter(
    ([key, value]) => key.startsWith('tidemark_verify_ok') && value !== 1,
  )
  assert.deepEqual(failing, [])
  const { rows } = await sql.query(
    `SELECT waiting::int, processing::int, failed::int, dead::int FROM service_ops.processor_status WHERE processor = 'packer'`,
  )
  assert.deepEqual(rows, [{ waiting: 1, processing: 2, failed: 0, dead: 2 }], 'status says the same')

  const slowest = { ms: 0 }
  way.freeze()
  await until('the database to be seen away', async () => {
    const [away] = await Promise.all([
      inTime(slowest, () => scrape(instance.address)),
      ...['/health', '/ready'].map((path) => inTime(slowest, () => fetch(`${instance.address}${path}`))),
    ])
    if (away.value('tidemark_database_up') === 1) return false
    assert.equal(depth(away, 'DEAD'), undefined)
    assert.equal(away.value('tidemark_database_numbers_age_seconds'), undefined)
    assert.equal(away.value('tidemark_messages_processed_total', { source: 'orders' }), 5)
    return true
  })
  t.diagnostic(`the slowest answer of three while the database was silent: ${Math.round(slowest.ms)} ms`)
  way.thaw()
  await until('the numbers to be back', async () => depth(await scrape(instance.address), 'DEAD') === 2)
})

test('the text is made once a second at most, and the database is asked every 5 s at most, however often they are wanted', async (t) => {
  const { instance } = await world(t)
  const ages: number[] = []
  const texts = new Set<string>()
  const startedAt = performance.now()
  await until('twelve seconds of scrapes', async () => {
    const text = await (await fetch(`${instance.address}/metrics`)).text()
    texts.add(text)
    const age = readScrape(text).value('tidemark_database_numbers_age_seconds')
    if (age !== undefined) ages.push(age)
    return performance.now() - startedAt > 12_000
  })
  const seconds = (performance.now() - startedAt) / 1000
  const readings = 1 + ages.filter((age, i) => age < (ages[i - 1] ?? 0)).length
  assert.ok(texts.size <= seconds + 1, `${texts.size} texts in ${seconds} s`)
  assert.ok(readings <= seconds / 5 + 1, `${readings} readings in ${seconds} s`)
  assert.ok(ages.length > 50, `only ${ages.length} scrapes`)
})

test('promtool finds nothing to say about a real scrape', { skip: promtoolMissing }, async (t) => {
  const { instance, write } = await world(t)
  await write('good', 'a "shop" \\ of ours', 1)
  await until('all parts of it', async () => depth(await scrape(instance.address), 'NEW') !== undefined)
  const response = await fetch(`${instance.address}/metrics`)
  assert.equal(promtool(['check', 'metrics'], await response.text()), '')
})
