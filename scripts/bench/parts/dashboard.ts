import { createAdmin } from '../../../src/runner/admin.ts'
import { createPool } from '../../../src/db/pool.ts'
import type { Pool } from '../../../src/db/pool.ts'
import { createDashboard } from '../../../src/http/dashboard/dashboard.ts'
import { createTokenGate } from '../../../src/http/tokenGate.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { rollUpHistory } from '../../../src/tables/history.ts'
import { readStatus } from '../../../src/tables/status.ts'
import type { BenchPart } from '../part.ts'
import { median, whole } from '../report.ts'
import { scaleSql } from '../scale/statements.ts'

/*
 * How long the server takes for each page of the dashboard with a full inbox: 10 million finished rows (1 million with --quick),
 * and among them what failed, was given up, waits and holds slots; a full ledger and a full history. Pages are asked for as
 * app.fetch answers them, so a network is left out. A page that is kept for a while is made anew for each round.
 */

const MOST = 10_000_000
const QUICK_MOST = 1_000_000
const CHUNK = 250_000
/** What was promised of every page, in milliseconds. */
const MOST_MS = 300
const ROUNDS = 9
const TOKEN = 'a-token-of-more-than-16'

/** What there is besides the finished messages. */
const FILLS = ['keep_low_water', 'fill_troubled', 'fill_slots', 'fill_ledger', 'fill_task', 'fill_history']

const PAGES: readonly (readonly [name: string, path: string])[] = [
  ['now, slots held', '/'],
  ['history, an hour', '/history'],
  ['history, a day', '/history?span=day'],
  ['history, a week', '/history?span=week'],
  ['messages', '/messages'],
  ['messages, far back', '/messages?below=1000000'],
  ['messages, DEAD', '/messages?status=DEAD'],
  ['messages, open', '/messages?status=NEW&status=PROCESSING&status=FAILED'],
  ['messages, DISCARDED (none)', '/messages?status=DISCARDED'],
  ['messages, one key (few)', '/messages?key=rare'],
  ['messages, one error', '/messages?error=TypeError'],
  ['messages, one error, DEAD', '/messages?error=TypeError&status=DEAD'],
  ['messages, one trace', '/messages?q=c4ca4238a0b923820dcc509a6f75849b'],
  ['messages, one id', '/messages?q=500000'],
  ['messages, one hour, one key', '/messages?since=HOUR_AGO&until=NOW&key=rare'],
  ['one message', '/messages/500000'],
  ['runs', '/runs'],
  ['runs, failed', '/runs?outcome=failed'],
  ['verify, not run', '/verify'],
  ['actions', '/actions'],
  ['one task', '/tasks/bench'],
]

export const dashboard: BenchPart = {
  name: 'dashboard',
  about:
    'the time that the server takes for each page of the dashboard, with 10 million finished rows in the inbox',
  onRequest: true,
  async run(server, { quick, finished = quick ? QUICK_MOST : MOST }, tell) {
    for (let first = 1; first <= finished; first += CHUNK) {
      const last = Math.min(finished, first + CHUNK - 1)
      await server.query(scaleSql('fill_finished'), [first, last])
      tell(`dashboard: ${whole(last)} of ${whole(finished)} finished rows`)
    }
    for (const statement of FILLS) {
      tell(`dashboard: ${statement.replace('_', ' ')}`)
      await server.query(scaleSql(statement))
    }
    await server.query(
      'VACUUM (ANALYZE) service_ops.integration_inbox, service_ops.poll_run, service_ops.history_minute, service_ops.slot_limit',
    )
    const pool = createPool({
      url: server.url,
      applicationName: 'tidemark-bench-pages',
      max: 4,
      connectTimeoutMs: 5_000,
      limits: { statementTimeoutMs: 30_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
    })
    try {
      const rolledUp = await rollUp(pool, tell)
      await server.query('VACUUM (ANALYZE) service_ops.history_step')
      const results = await measure(pool, tell)
      const [slowest] = results.toSorted((one, other) => other.maxMs - one.maxMs)
      const reached = results.every(({ maxMs }) => maxMs <= MOST_MS)
      const line = `dashboard: the slowest page, ${slowest?.page ?? ''}, took ${(slowest?.maxMs ?? 0).toFixed(1)} ms at most (limit ${MOST_MS} ms): ${reached ? 'kept' : 'NOT KEPT'}`
      return {
        json: { finished, rounds: ROUNDS, pages: results, rolledUp },
        text: [
          `\npages of the dashboard, ${whole(finished)} finished rows, ${ROUNDS} rounds, ms at the server`,
          ...results.map(
            ({ page, medianMs, maxMs, bytes }) =>
              `  ${page.padEnd(32)} median ${medianMs.toFixed(1).padStart(7)}   most ${maxMs.toFixed(1).padStart(7)}   ${whole(bytes)} bytes`,
          ),
          `  the history rolled up at first ${rolledUp.firstMs.toFixed(0)} ms, in stretches of ${rolledUp.mostMs.toFixed(0)} ms at most; then every 10 min ${rolledUp.againMs.toFixed(0)} ms`,
          line,
          '',
        ].join('\n'),
        verdicts: [{ line, reached }],
      }
    } finally {
      await pool.end()
    }
  },
}

/** The first time, with eight days to do; and again, as it is done from then on. */
async function rollUp(pool: Pool, tell: (what: string) => void) {
  const runs: number[] = []
  const run = async (): Promise<boolean> => {
    const startedAt = performance.now()
    const isThrough = await rollUpHistory(pool)
    runs.push(performance.now() - startedAt)
    return isThrough
  }
  tell('dashboard: rolling up the history')
  while (!(await run()));
  const [firstMs, mostMs] = [runs.reduce((sum, ms) => sum + ms, 0), Math.max(...runs)]
  await run()
  return { firstMs, mostMs, againMs: runs.at(-1) ?? 0 }
}

/** A dashboard of its own, so that no page is one that was kept. */
function dashboardOn(pool: Pool) {
  return createDashboard({
    port: {
      status: () => readStatus(pool),
      database: () => pool,
      ending: new AbortController().signal,
      pollers: () => [],
      lookAtRange: () => Promise.reject(new Error('not measured')),
      replay: () => Promise.reject(new Error('not measured')),
    },
    admin: createAdmin(() => pool),
    settings: { dashboard: 'public', adminToken: TOKEN },
    gate: createTokenGate(TOKEN, false),
    service: 'bench',
    release: '1',
    log: createLog({ service: 'bench', instanceId: 'bench', level: 'critical', sink: { write: () => true } }),
  }).routes
}

async function measure(pool: Pool, tell: (what: string) => void) {
  const [now, hourAgo] = [new Date(), new Date(Date.now() - 3_600_000)].map((at) =>
    at.toISOString().slice(0, 16),
  )
  const headers = { Accept: 'text/html', Authorization: `Bearer ${TOKEN}` }
  const results = []
  for (const [page, template] of PAGES) {
    const path = template.replace('HOUR_AGO', hourAgo ?? '').replace('NOW', now ?? '')
    tell(`dashboard: ${page}`)
    const times: number[] = []
    let bytes = 0
    for (let round = 0; round < ROUNDS; round += 1) {
      const routes = dashboardOn(pool)
      const startedAt = performance.now()
      const response = await routes.request(path, { headers })
      bytes = (await response.text()).length
      times.push(performance.now() - startedAt)
      if (response.status !== 200) throw new Error(`${path} was answered with ${response.status}`)
    }
    results.push({ page, medianMs: median(times), maxMs: Math.max(...times), bytes })
  }
  return results
}
