import { readFileSync, readdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Client } from 'pg'
import { readSettings } from '../../src/config/settings.ts'
import { layoutOf } from '../../src/db/embedded/cluster.ts'
import { useEmbedded } from '../../src/db/embedded.ts'
import { splitStatements } from '../../src/db/statements.ts'
import { createRunner } from '../../src/index.ts'

/*
 * npm run bench:idle: what an instance with nothing to do asks of PostgreSQL, with 2 pollers at 60 s, 2 processors and 2
 * cron jobs (one that never comes, one each minute).
 *
 * Counted are the statements in the server's own log (log_statement = all) of every connection of the instance: BEGIN,
 * COMMIT and LISTEN are statements, too, and a script of several that is sent as one message counts as one. What is in
 * sql/queries is ours, also where it is about pg-boss's tables; what else names pg-boss's schema is pg-boss's; BEGIN, COMMIT
 * and SELECT 1 are ours. The start is left out. More than five a second of ours and pg-boss's together end it with 1.
 *
 * pg-boss works by the minute, so whole minutes are measured. Once a day it goes over each of its queues, on a new database in
 * the first minutes: those statements are counted as all are, and told apart as well.
 */

const SETTLE_MS = 15_000
const MOST_A_SECOND = 5
/** pg-boss's daily pass over its queues, and (the same text) its look at the clock, every ten minutes. */
const DAILY = /walkCursor|SET retained_count = \$2|^SELECT round\(date_part\('epoch', pgboss\.job_now/
/** How its scripts begin, all alike. */
const PROLOGUE = /^BEGIN; (?:SET LOCAL [^;]*; )*(?:SELECT pg_advisory_xact_lock[^;]*; )?/
/** What tells one statement from another in the table. */
const HEAD = 90

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '120' } } })
const seconds = Number(values.seconds)

const oneLine = (text: string): string =>
  text
    .replaceAll(/--[^\n]*/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim()
    .replace(/;$/, '')

const queries = join(import.meta.dirname, '../../sql/queries')
const names = new Map<string, string>()
for (const file of readdirSync(queries))
  for (const [name, text] of splitStatements(readFileSync(join(queries, file), 'utf8'), file))
    if (!text.includes(':"')) names.set(oneLine(text), `${file.replace('.sql', '')}.${name}`)

interface Counted {
  readonly whose: 'tidemark' | 'pg-boss'
  readonly what: string
  readonly isDaily?: boolean
}

function classify(text: string): Counted {
  const statement = oneLine(text)
  const name = names.get(statement)
  if (name !== undefined) return { whose: 'tidemark', what: name }
  const whose = /pgboss/.test(statement) ? 'pg-boss' : 'tidemark'
  const isDaily = whose === 'pg-boss' && DAILY.test(statement)
  const what = statement.replace(PROLOGUE, '').slice(0, HEAD)
  return { whose, isDaily, what: isDaily ? 'once a day: the pass over each queue' : what }
}

const folder = mkdtempSync(join(tmpdir(), 'tidemark-idle-'))
const embedded = await useEmbedded(folder)
const client = new Client({ connectionString: embedded.url, application_name: 'count' })
await client.connect()
try {
  for (const table of ['first', 'second'])
    await client.query(`CREATE TABLE ${table} (id bigint PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), body jsonb);
      CREATE INDEX ON ${table} (created_at, id)`)
  const source = (table: string) => ({
    source: { table, id: 'id', createdAt: 'created_at', payload: 'body' },
    every: '60s' as const,
  })
  const processor = (from: string) => ({ from, contract: 'transactional' as const, handle: () => undefined })
  const runner = createRunner(
    {
      pollers: { first: source('first'), second: source('second') },
      processors: { one: processor('first'), two: processor('second') },
      jobs: {
        each_minute: { cron: '* * * * *', handle: () => undefined },
        each_year: { cron: '0 0 1 1 *', handle: () => undefined },
      },
    },
    {
      settings: readSettings(
        { DATABASE_URL: embedded.url, PORT: '0', HOST: '127.0.0.1', LOG_LEVEL: 'critical' },
        { pollers: ['first', 'second'] },
      ),
    },
  )
  await runner.start()
  await pause(SETTLE_MS)
  await client.query("ALTER SYSTEM SET log_line_prefix = '@@%a@@'")
  await client.query("ALTER SYSTEM SET log_statement = 'all'")
  await client.query('SELECT pg_reload_conf()')
  await pause(seconds * 1000)
  await client.query("ALTER SYSTEM SET log_statement = 'none'")
  await client.query('SELECT pg_reload_conf()')
  await pause(500)
  const log = readFileSync(layoutOf(folder).log, 'utf8')
  await runner.stop()
  report(log)
} finally {
  await client.end()
  await embedded.leave()
  rmSync(folder, { recursive: true, force: true })
}

function report(log: string): void {
  const counts = new Map<string, { whose: Counted['whose']; count: number }>()
  const totals = { tidemark: 0, 'pg-boss': 0 }
  let daily = 0
  for (const entry of log.split(/^@@/m)) {
    const [, application = '', text = ''] =
      /^(.*?)@@LOG: {2}(?:statement|execute [^:]*): ([\s\S]*)$/.exec(entry) ?? []
    if (!application.startsWith('tidemark:')) continue
    const { whose, what, isDaily = false } = classify(text)
    const line = counts.get(what) ?? { whose, count: 0 }
    line.count += 1
    counts.set(what, line)
    totals[whose] += 1
    if (isDaily) daily += 1
  }
  const rate = (count: number): string => (count / seconds).toFixed(2).padStart(6)
  const lines = [...counts].sort(([, a], [, b]) => b.count - a.count)
  for (const whose of ['tidemark', 'pg-boss'] as const) {
    process.stdout.write(`\n${whose}: ${rate(totals[whose]).trim()} statements a second\n`)
    for (const [what, line] of lines)
      if (line.whose === whose) process.stdout.write(`${rate(line.count)}  ${what}\n`)
  }
  const all = (totals.tidemark + totals['pg-boss']) / seconds
  if (daily > 0)
    process.stdout.write(
      `\n${daily} of them are pg-boss's once a day: ${(all - daily / seconds).toFixed(2)} without\n`,
    )
  process.stdout.write(`\n${all.toFixed(2)} statements a second in ${seconds} s, ${MOST_A_SECOND} at most\n`)
  if (all > MOST_A_SECOND) process.exitCode = 1
}
