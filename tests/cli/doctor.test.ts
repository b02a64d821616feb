import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { CHECKS } from '../../src/doctor/checks.ts'
import type { Examined } from '../../src/doctor/examine.ts'
import { tidemark } from './tidemark.ts'

interface Document {
  readonly ok: boolean
  readonly findings: number
  readonly notes: number
  readonly not_run: number
  readonly checks: readonly Examined[]
}

function folderOf(t: TestContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-doctor-'))
  t.after(() => rmSync(folder, { recursive: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}

const CONFIG = `export default {
  pollers: { orders: { source: { table: 'orders', id: 'id', createdAt: 'created_at' } } },
  processors: { packing: { from: 'orders', contract: 'external', timeout: '90s', handle() {} } },
}`

const NOWHERE = { DATABASE_URL: 'postgres://nobody:secret@127.0.0.1:1/none' }

describe('`doctor`', () => {
  test('without a database says so, runs what needs none, and ends with 1', async (t) => {
    const cwd = folderOf(t, { 'tidemark.config.js': CONFIG, 'fly.toml': 'kill_timeout = 10\n' })
    const { code, stdout, stderr } = await tidemark(['doctor'], { cwd, env: NOWHERE })
    assert.equal(code, 1, stderr)
    assert.match(
      stdout,
      /^fault {4}database: the database cannot be used: 127\.0\.0\.1:1\/none \(DATABASE_URL\): connect ECONNREFUSED.*\n +→ see that it is up, and that DATABASE_URL is right$/m,
    )
    assert.match(stdout, /^warning {2}handler_limits: processors\.packing may take 90 s/m)
    assert.match(stdout, /^fault {4}fly_stop: kill_timeout in fly\.toml is 10 s.*\n +→ kill_timeout = 45$/m)
    assert.match(stdout, /^not run {2}because of database: addresses, primary, .*messages$/m)
    assert.equal(stdout.split('ECONNREFUSED').length, 2, 'said once')
    assert.match(stdout, /^\d+ found by \d+ checks, \d+ could not be run; 1 note, told with --notes$/m)
    assert.doesNotMatch(stdout, /secret/)
  })

  test('prints one JSON document', async (t) => {
    const cwd = folderOf(t, { 'tidemark.config.js': CONFIG })
    const { code, stdout } = await tidemark(['doctor', '--json'], { cwd, env: NOWHERE })
    const { ok, findings, not_run: notRun, checks } = JSON.parse(stdout) as Document
    assert.deepEqual([code, ok, findings], [1, false, 2])
    assert.deepEqual(
      checks.map(({ name, title }) => ({ name, title })),
      CHECKS.map(({ name, title }) => ({ name, title })),
    )
    assert.equal(checks.filter(({ status }) => status === 'not_run').length, notRun)
    const { is_optional: optional, why } = checks.find(({ name }) => name === 'fly_stop') ?? {}
    assert.deepEqual([optional, why], [true, 'there is no fly.toml'])
  })

  test('names the server that does not run, where none is named', async (t) => {
    const { code, stdout } = await tidemark(['doctor'], { cwd: folderOf(t, {}) })
    assert.equal(code, 1)
    assert.match(stdout, /^fault {4}database: there is no database: DATABASE_URL is not set/m)
    // Without a config nothing is known of the tasks, which is no pass.
    assert.match(stdout, /^not run {2}tokens, handler_limits.*: there is no config file here/m)
  })

  test('tells what is no mistake, and what was left out, to whoever asks', async (t) => {
    const cwd = folderOf(t, { 'tidemark.config.js': CONFIG })
    const silent = await tidemark(['doctor'], { cwd, env: NOWHERE })
    assert.doesNotMatch(silent.stdout, /^(note|left out)/m)
    assert.match(silent.stdout, /; \d+ left out, since there is no fly\.toml; 1 note, told with --notes\n$/)
    const asked = await tidemark(['doctor', '--notes'], { cwd, env: NOWHERE })
    assert.match(asked.stdout, /^note {5}tokens: ADMIN_TOKEN is not set/m)
    assert.match(asked.stdout, /^left out: fly_file, .*fly_ports: there is no fly\.toml/m)
  })

  test('reads the app that it is told to, and misses it', async (t) => {
    const cwd = folderOf(t, { 'green.toml': 'kill_signal = "SIGKILL"\n' })
    const run = async (file: string) =>
      (await tidemark(['doctor', '--fly', file], { cwd, env: NOWHERE })).stdout
    assert.match(await run('green.toml'), /kill_signal in green\.toml is SIGKILL/)
    assert.match(await run('blue.toml'), /^not run {2}fly_file, .*fly_stop, .*: there is no blue\.toml/m)
  })

  test('ends with 78 for settings and a config that nothing can start with', async (t) => {
    const cwd = folderOf(t, { 'tidemark.config.js': 'export default { pollers: 7 }' })
    const { code, stderr } = await tidemark(['doctor'], { cwd, env: { ADMIN_TOKEN: 'short' } })
    assert.equal(code, 78)
    assert.match(stderr, /ADMIN_TOKEN: expected at least 16 characters/)
    assert.match(stderr, /pollers/)
  })
})
