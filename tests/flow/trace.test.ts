import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/** A handler that does what its instance is told to: to fail, to take too long, or never to end. */
const CONFIG = `export default {
  pollers: { orders: { source: { table: 'orders', id: 'id', createdAt: 'at', traceId: 'trace' }, every: '1s' } },
  processors: { packing: { from: 'orders', contract: 'transactional', timeout: '2s', backoff: { base: '50ms', max: '50ms' }, async handle({ attempts }, { log }) {
    log.info('attempt ' + attempts)
    if (process.env.BEHAVE === 'fail once' && attempts === 1) throw new RangeError('too far')
    if (process.env.BEHAVE !== undefined) await new Promise(() => {})
  } } },
}`

test('the story of a message that failed, took too long, lost its process, was drained and was done', async (t) => {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(
    'CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), trace text)',
  )
  const start = async (behave?: string, env: Record<string, string> = {}) => {
    const instance = await startInstance(t, {
      databaseUrl: database.url,
      config: CONFIG,
      env: { ...(behave === undefined ? {} : { BEHAVE: behave }), ...env },
    })
    await instance.said('ready')
    return instance
  }
  const first = await start('fail once')
  await sql.query(`INSERT INTO orders (id, trace) VALUES (1, 'the-trace')`)
  await first.said('message_failed', { class: 'RangeError' })
  await first.said('message_failed', { class: 'HandlerTimeout' })
  await first.said('handler_log', { msg: 'attempt 3' })
  first.kill('SIGKILL')
  await first.exited

  const second = await start('hang', { DRAIN_TIMEOUT_SECONDS: '0' })
  await second.said('handler_log', { msg: 'attempt 4' })
  second.kill('SIGTERM')
  await second.exited

  const third = await start()
  await third.said('message_done')
  const { code, stdout } = await until('the end of the story', async () => {
    const told = await tidemark(['trace', 'the-trace'], { env: { DATABASE_URL: database.url } })
    return told.stdout.includes('done') && told
  })
  assert.equal(code, 0)
  const [, ...lines] = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/ {2,}/g, ' | '))
  const told: [what: string, who: string, detail: RegExp][] = [
    ['written', 'public.orders', /^row 1 of the source$/],
    [
      'taken in',
      first.id,
      /^by orders, pass \d+ \(ran\) of term 1: 1 of \d+ rows were new, as 1 \(inbox_id 1\)$/,
    ],
    ['failed', first.id, /^attempt 1 of 10, after \d+ ms: RangeError: too far$/],
    ['failed', first.id, /^attempt 2 of 10, after 2\d{3} ms: HandlerTimeout: /],
    [
      'reclaimed',
      first.id,
      /^attempt 3 of 10, after \d+ ms: InstanceLost: the process ended while the handler ran$/,
    ],
    ['interrupted', second.id, /^attempt 4 of 10, after \d+ ms: Interrupted: drain$/],
    ['done', third.id, /^by packing, attempt 4 of 10$/],
  ]
  assert.equal(lines.length, told.length + 1, stdout)
  for (const [i, [what, who, detail]] of told.entries()) {
    const [, ...cells] = (lines[i + 1] ?? '').split(' | ')
    assert.deepEqual(cells.slice(0, 2), [what, who], stdout)
    assert.match(cells[2] ?? '', detail)
  }
  const { stdout: held } = await tidemark(['verify'], { env: { DATABASE_URL: database.url } })
  assert.doesNotMatch(held, /FAILS/)
})
