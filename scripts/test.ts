import { globSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { inspect, parseArgs } from 'node:util'
import { pgbouncerMissing } from '../tests/support/pgbouncer.ts'
import { MAJOR_VARIABLE, wantedMajor } from '../tests/support/postgres.ts'
import { POOLER_PORT_VARIABLE, POOLER_VARIABLE, ROLE_VARIABLE } from '../tests/support/programWay.ts'
import { SERVER_VARIABLE, throwawayServer } from '../tests/support/server.ts'
import { runTestFile, type FileReport } from './test/file.ts'
import { startRunsPooler } from './test/pooler.ts'

/*
 * npm test: every test file in a process of its own, all on one throw-away PostgreSQL server.
 * Arguments are parts of paths: `npm test -- db/embedded flow` runs the files whose path contains one of them.
 * `--postgres 15` (or TIDEMARK_TEST_POSTGRES) runs them on that major, whose programs it installs; TIDEMARK_TEST_ROLE=runner has
 * the program work as the role of sql/roles.sql, TIDEMARK_TEST_POOLER=transaction (or session) behind PgBouncer:
 * tests/support/programWay.ts says what goes that way.
 * A file prints one line; a failed test prints its error, and its file what it wrote. The very last line is
 * `N passed, N failed`, and `, N skipped` when tests were skipped.
 */

const root = resolve(import.meta.dirname, '..')
/** Two files at once use two cores well; more of them only make each other's limits run out. */
const CONCURRENCY = 2
/** No file takes a minute or two, nor a long form half an hour; one that hangs must not hold a machine for hours. */
const FILE_LIMIT_MS = process.env['TIDEMARK_LONG'] === '1' ? 3_600_000 : 600_000

async function main(filters: readonly string[]): Promise<boolean> {
  const files = globSync('tests/**/*.test.ts', { cwd: root })
    .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
    .sort()
  const counts = { passed: 0, failed: 0, skipped: 0 }
  if (files.length > 0) {
    await onServer(async () => {
      const waiting = files.entries()
      const work = async (): Promise<void> => {
        // The lanes share one iterator: each takes the next file when it is done with its last.
        for (const [index, file] of waiting) {
          const report = await runTestFile(resolve(root, file), FILE_LIMIT_MS)
          counts.passed += report.passed
          counts.failed += report.failures.length
          counts.skipped += report.skipped
          print(report, file, `${index + 1}/${files.length}`)
        }
      }
      await Promise.all(Array.from({ length: CONCURRENCY }, work))
    })
  }
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
  process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed${skipped}\n`)
  return counts.failed === 0 && counts.passed > 0
}

/** Lends the tests a server, by the environment that their processes inherit, and stops it whatever happens. */
async function onServer(work: () => Promise<void>): Promise<void> {
  const server = await throwawayServer()
  process.env[SERVER_VARIABLE] = server.url
  const pooler = poolMode === undefined ? undefined : await startRunsPooler(server.url, poolMode)
  if (pooler !== undefined) process.env[POOLER_PORT_VARIABLE] = String(pooler.port)
  const end = async (): Promise<void> => {
    await pooler?.end()
    await server.end()
  }
  const interrupted = (signal: NodeJS.Signals): void => {
    void end().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  }
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    await work()
  } finally {
    await end()
  }
}

function print(report: FileReport, file: string, place: string): void {
  const verdict = report.failures.length === 0 ? 'ok  ' : 'FAIL'
  const seconds = (report.durationMs / 1000).toFixed(1)
  const lines = [`${verdict} ${place.padStart(7)} ${file} (${report.passed} passed, ${seconds} s)`]
  for (const { name, error } of report.failures) {
    lines.push(
      `     ✖ ${relative(root, name) || name}`,
      indent(inspect(error, { colors: process.stdout.isTTY })),
    )
  }
  for (const skip of report.skips) lines.push(`     – ${skip}`)
  if (report.failures.length > 0 && report.output !== '')
    lines.push(indent(`output of the file:\n${report.output}`))
  process.stdout.write(`${lines.join('\n')}\n`)
}

function indent(text: string): string {
  return text.trimEnd().replaceAll(/^/gm, '       ')
}

interface Given {
  readonly filters: readonly string[]
  readonly poolMode: 'transaction' | 'session' | undefined
}

/** What the run is told. The test files' processes inherit it by the environment. Throws for what it does not know. */
function readRun(): Given {
  const { values, positionals } = parseArgs({
    options: { postgres: { type: 'string' } },
    allowPositionals: true,
  })
  if (values.postgres !== undefined) process.env[MAJOR_VARIABLE] = values.postgres
  const role = process.env[ROLE_VARIABLE]
  if (role !== undefined && role !== 'runner')
    throw new Error(`${ROLE_VARIABLE} is ${role}: "runner" is wanted`)
  const poolMode = process.env[POOLER_VARIABLE]
  if (poolMode !== undefined && poolMode !== 'transaction' && poolMode !== 'session')
    throw new Error(`${POOLER_VARIABLE} is ${poolMode}: "transaction" or "session" is wanted`)
  if (poolMode !== undefined && pgbouncerMissing !== false) throw new Error(pgbouncerMissing)
  const on = [
    `PostgreSQL ${wantedMajor()}`,
    ...(role === undefined ? [] : [`the role ${role}`]),
    ...(poolMode === undefined ? [] : [`PgBouncer in ${poolMode} mode`]),
  ]
  if (on.length > 1 || process.env[MAJOR_VARIABLE] !== undefined)
    process.stdout.write(`on ${on.join(', ')}\n`)
  return { filters: positionals, poolMode }
}

const { filters, poolMode } = readRun()
process.exitCode = (await main(filters)) ? 0 : 1
