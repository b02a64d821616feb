import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'
import { testServerUrl } from '../support/database.ts'
import { SERVER_VARIABLE } from '../support/server.ts'

const root = resolve(import.meta.dirname, '../..')
const fromRoot = (path: string): string => pathToFileURL(join(root, path)).href

interface Report {
  passed: number
  skipped: number
  output: string
  failures: { name: string; error: string }[]
}

/** Runs one planted file as scripts/test.ts would, in a process that node:test does not take for a test's own. */
function runPlanted(
  t: TestContext,
  text: string,
  limitMs = 60_000,
  environment: NodeJS.ProcessEnv = {},
): Report {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-planted-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'planted.test.mjs')
  writeFileSync(file, text)
  // A file and not `node -e`: node:test hands its own options, and so the program, on to the file's process.
  const program = join(folder, 'program.mjs')
  writeFileSync(
    program,
    `import { runTestFile } from '${fromRoot('scripts/test/file.ts')}'
    const report = await runTestFile('${file}', ${limitMs})
    const failures = report.failures.map(({ name, error }) => ({ name, error: String(error) }))
    process.stdout.write(JSON.stringify({ ...report, failures }))`,
  )
  const env: NodeJS.ProcessEnv = { ...process.env, ...environment }
  delete env['NODE_TEST_CONTEXT']
  const stdout = execFileSync(process.execPath, [program], { env, encoding: 'utf8' })
  return JSON.parse(stdout) as Report
}

describe('running a test file', () => {
  test('counts tests, not suites, and names a failure by the suites around it', (t) => {
    const { passed, skipped, failures } = runPlanted(
      t,
      `import { test, describe } from 'node:test'
      test('good', () => {})
      test.skip('later', () => {})
      describe('outer', () => { describe('inner', () => { test('bad', () => { throw new Error('why') }) }) })`,
    )
    assert.deepEqual({ passed, skipped }, { passed: 1, skipped: 1 })
    assert.deepEqual(failures, [{ name: 'outer › inner › bad', error: 'Error: why' }])
  })

  test('fails a file that cannot be loaded, and keeps what it said', (t) => {
    const { passed, failures, output } = runPlanted(t, `throw new Error('at import')`)
    assert.deepEqual([passed, failures.length], [0, 1])
    assert.match(output, /at import/)
  })

  test('fails a file without a test', (t) => {
    const { passed, failures } = runPlanted(t, `export const nothing = 1`)
    assert.deepEqual([passed, failures[0]?.error], [0, 'the file has no test'])
  })

  test('ends a file in which something outlives its test', (t) => {
    const text = `import { test } from 'node:test'; test('good', () => { setInterval(() => {}, 1000) })`
    // Long enough for the process to start, load and run its test.
    const { passed, failures } = runPlanted(t, text, 8_000)
    assert.deepEqual([passed, failures.length], [1, 1])
    assert.match(failures[0]?.error ?? '', /not at its end after 8 s/)
  })

  test('fails a test that leaves a connection to its database open', async (t) => {
    const text = `import { test } from 'node:test'
      import { createDatabase } from '${fromRoot('tests/support/database.ts')}'
      import pg from '${import.meta.resolve('pg')}'
      test('leaks', async (t) => {
        const client = new pg.Client((await createDatabase(t, { migrated: false })).url)
        client.on('error', () => {})
        await client.connect()
      })`
    const { failures } = runPlanted(t, text, 60_000, { [SERVER_VARIABLE]: await testServerUrl() })
    assert.deepEqual(
      failures.map(({ name }) => name),
      ['leaks'],
    )
    assert.match(failures[0]?.error ?? '', /left connections open/)
  })
})
