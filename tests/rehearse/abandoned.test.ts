import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { findEmbedded } from '../../src/db/embedded.ts'
import { logFolder, removeAbandoned } from '../../src/rehearse/abandoned.ts'

const PROGRAM = `
  import { useEmbedded } from ${JSON.stringify(import.meta.resolve('../../src/db/embedded.ts'))}
  import { logFolder, serverFolder } from ${JSON.stringify(import.meta.resolve('../../src/rehearse/abandoned.ts'))}
  const [server, logs] = [serverFolder(), logFolder()]
  await useEmbedded(server, { durable: false })
  process.send([server, logs.path])
  setInterval(() => undefined, 1000)`

test('a rehearsal removes what those that were killed have left, and nothing of the living or of what was kept', async (t) => {
  const before = process.env['TMPDIR']
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-left-'))
  process.env['TMPDIR'] = folder
  t.after(async () => {
    // What a failure of this test leaves.
    await removeAbandoned()
    if (before === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = before
    rmSync(folder, { recursive: true })
  })
  writeFileSync(join(folder, 'program.mjs'), PROGRAM)
  const child = fork(join(folder, 'program.mjs'))
  t.after(() => child.kill('SIGKILL'))
  const [left] = (await once(child, 'message')) as [[server: string, logs: string]]
  const [server] = left
  const mine = logFolder()
  const kept = logFolder()
  writeFileSync(join(kept.path, 'blue0-1.log'), 'it said this')
  assert.equal(kept.keep(), true)

  assert.deepEqual(await removeAbandoned(), [], 'all of them live')
  child.kill('SIGKILL')
  await once(child, 'exit')
  assert.ok((await findEmbedded(server)) !== undefined, 'its server runs on')
  assert.deepEqual((await removeAbandoned()).sort(), [...left].sort())
  assert.equal(await findEmbedded(server), undefined)
  assert.deepEqual([...left, mine.path, kept.path].map(existsSync), [false, false, true, true])
  assert.equal(mine.keep(), false, 'nothing was said')
})
