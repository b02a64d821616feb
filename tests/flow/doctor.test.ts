import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { CHECKS } from '../../src/doctor/checks.ts'
import type { Examined } from '../../src/doctor/examine.ts'
import { startInstance } from '../support/instance.ts'
import { tidemark } from '../cli/tidemark.ts'

/** A set-up that is right, as a new user has it: every check looks, and none finds anything. */
test('`doctor` has one line to say of the demo: every check passed', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'tidemark-demo-'))
  t.after(() => rmSync(dataDir, { recursive: true, force: true }))
  const env = { TIDEMARK_DATA_DIR: dataDir, DATABASE_URL: '' }
  const demo = await startInstance(t, { databaseUrl: '', env })
  await demo.said('task_started_as_leader', { task: 'message_poller' })
  await demo.said('message_done')
  // The project's own folder has its fly.toml.
  const cwd = resolve(import.meta.dirname, '../..')
  const { code, stdout, stderr } = await tidemark(['doctor', '--json'], { cwd, env })
  assert.equal(stderr, '')
  const { checks } = JSON.parse(stdout) as { checks: Examined[] }
  const told = checks.filter(({ status, findings }) => status !== 'ok' || findings.length > 0)
  assert.deepEqual(told, [], 'notes are none either')
  assert.equal(checks.length, CHECKS.length)
  assert.equal(code, 0)

  for (const args of [['doctor'], ['doctor', '--notes']]) {
    const people = await tidemark(args, { cwd, env })
    assert.deepEqual(people, { code: 0, stdout: `all ${CHECKS.length} checks passed\n`, stderr: '' })
  }
  demo.kill('SIGTERM')
  assert.equal((await demo.exited).code, 0)
})
