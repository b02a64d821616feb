import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { readFly } from '../../src/doctor/fly/flyToml.ts'

test('a value of [env] that is a table or a list, which Fly.io does not take, is none', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-fly-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'fly.toml')
  writeFileSync(file, '[env]\nA = {}\nB = [1]\nC = 5\nD = "x"\nE = true\n')
  assert.deepEqual(readFly(file, folder)?.env, { A: '', B: '', C: '5', D: 'x', E: 'true' })
})
