import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { findOnPath } from '../support/program.ts'

const ROOT = join(import.meta.dirname, '../..')
const SCRIPTS = ['scripts/deploy.sh', 'scripts/rollback.sh', 'scripts/deploy/steps.sh', '.ci/run']

const missing =
  findOnPath('shellcheck') === undefined &&
  process.env['TIDEMARK_CI'] === undefined &&
  'shellcheck is not on the PATH (package shellcheck)'

test('shellcheck finds nothing in the shell scripts', { skip: missing }, () => {
  const { status, stdout, stderr, error } = spawnSync('shellcheck', ['--external-sources', ...SCRIPTS], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  if (error !== undefined) throw error
  assert.equal(status, 0, `${stdout}${stderr}`)
})
