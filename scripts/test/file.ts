import { finished } from 'node:stream/promises'
import { run } from 'node:test'

/** What running one test file came to. */
export interface FileReport {
  passed: number
  skipped: number
  /** Name and reason of each test that was skipped with one. */
  readonly skips: string[]
  readonly failures: { readonly name: string; readonly error: unknown }[]
  /** What the file's process wrote; the end of it where it wrote much. */
  output: string
  durationMs: number
}

/** The end is where a crash leaves its reason. */
const OUTPUT_LIMIT_CHARACTERS = 20_000

/**
 * Runs one test file in a process of its own.
 *
 * The limit is for the file: node:test's own `timeout` is for each test, and leaves a process that does not end after
 * its last test (a timer, a pool) running for ever.
 */
export async function runTestFile(file: string, limitMs: number): Promise<FileReport> {
  const report: FileReport = { passed: 0, skipped: 0, skips: [], failures: [], output: '', durationMs: 0 }
  const started = performance.now()
  const write = (text: string): void => {
    report.output = (report.output + text).slice(-OUTPUT_LIMIT_CHARACTERS)
  }
  const fail = (name: string, error: unknown): void => void report.failures.push({ name, error })
  // Names of the suites and tests around the one that is reported, by depth.
  const path: string[] = []
  const events = run({ files: [file], signal: AbortSignal.timeout(limitMs) })
  events.on('test:start', ({ nesting, name }) => {
    path.length = nesting
    path[nesting] = name
  })
  events.on('test:stdout', ({ message }) => write(message))
  events.on('test:stderr', ({ message }) => write(message))
  events.on('test:diagnostic', (notice) => {
    // Those without a file are the counts at the end.
    if (notice.file !== undefined) write(`${notice.message}\n`)
  })
  events.on('test:pass', ({ name, details, skip, todo }) => {
    if (details.type === 'suite') return
    if (typeof skip === 'string') report.skips.push(`${name}: ${skip}`)
    if (skip !== undefined || todo !== undefined) report.skipped += 1
    // A file without a test passes under its own name.
    else if (name === file) fail(file, 'the file has no test')
    else report.passed += 1
  })
  events.on('test:fail', ({ name, nesting, details: { error } }) => {
    const kind = failureType(error)
    // A suite, or a test with tests inside, that failed because one of those did, which is reported itself.
    if (kind === 'subtestsFailed') return
    const fullName = [...path.slice(0, nesting), name].join(' › ')
    fail(fullName, kind === 'testAborted' ? overdue(limitMs) : error.cause)
  })
  await finished(events.resume())
  report.durationMs = performance.now() - started
  return report
}

function failureType(error: Error): unknown {
  return 'failureType' in error ? error.failureType : undefined
}

function overdue(limitMs: number): string {
  return `not at its end after ${limitMs / 1000} s: a test hangs, or something outlived its test`
}
