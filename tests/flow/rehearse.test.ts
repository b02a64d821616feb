import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Rehearsal } from '../../src/rehearse/rehearsal.ts'
import { tidemark } from '../cli/tidemark.ts'

test('the demo goes through two deploys under load, and nothing is lost or doubled', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-flow-'))
  t.after(() => rm(folder, { recursive: true }))
  const args = ['rehearse', '--deploys', '2', '--overlap', '1', '--rate', '50', '--json']
  const { code, stdout, stderr } = await tidemark(args, { cwd: folder, env: { TMPDIR: folder } })
  assert.equal(code, 0, stderr + stdout)
  assert.deepEqual(await readdir(folder), [], 'neither server nor logs are left')
  const result = JSON.parse(stdout) as Rehearsal
  assert.deepEqual([result.lost, result.doubled, result.invariants_broken], [0, 0, []])
  assert.equal(result.machines.deploys, 2)
  const [source] = result.sources
  assert.ok(source !== undefined && source.written > 50 && source.done === source.written, stdout)
  assert.ok(result.committed_late > 0 || result.rolled_back > 0, 'the writer is no easy one')
  const changes = result.leader_changes.reduce((sum, change) => sum + change.changes, 0)
  assert.ok(changes >= 4, 'both led tasks changed hands at each deploy')
})
