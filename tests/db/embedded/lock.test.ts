import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { withFolderLock } from '../../../src/db/embedded/lock.ts'
import { processMark } from '../../../src/db/embedded/process.ts'

function lockFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-lock-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return join(folder, 'lock')
}

/** Counts how many are inside at once, over turns of the event loop in which another could come in. */
function visitors(): { visit: () => Promise<void>; most: () => number; visits: () => number } {
  const count = { inside: 0, most: 0, visits: 0 }
  const visit = async (): Promise<void> => {
    count.inside += 1
    count.visits += 1
    count.most = Math.max(count.most, count.inside)
    for (let turn = 0; turn < 5; turn += 1) await setImmediate()
    count.inside -= 1
  }
  return { visit, most: () => count.most, visits: () => count.visits }
}

describe('the folder lock', () => {
  test('lets one in at a time, and leaves one file', async (t) => {
    const folder = lockFolder(t)
    const { visit, most, visits } = visitors()
    await Promise.all(Array.from({ length: 20 }, () => withFolderLock(folder, visit)))
    assert.deepEqual([visits(), most(), readdirSync(folder).length], [20, 1, 1])
  })

  test('is given back when the work fails', async (t) => {
    const folder = lockFolder(t)
    const work = (): Promise<never> => Promise.reject(new Error('no'))
    await assert.rejects(withFolderLock(folder, work), /no/)
    assert.equal(await withFolderLock(folder, async () => 'in'), 'in')
  })

  test('of a dead holder goes to one of those who wait', async (t) => {
    const folder = lockFolder(t)
    const { visit, most, visits } = visitors()
    const { pid } = spawnSync('true')
    mkdirSync(folder)
    writeFileSync(join(folder, '41'), `${pid} whatever`)
    await Promise.all(Array.from({ length: 10 }, () => withFolderLock(folder, visit)))
    assert.deepEqual([visits(), most()], [10, 1])
  })

  test('of a pid that is another process by now is as good as free', async (t) => {
    const folder = lockFolder(t)
    mkdirSync(folder)
    writeFileSync(join(folder, '7'), `${process.pid} an-earlier-start`)
    assert.equal(await withFolderLock(folder, async () => 'in'), 'in')
    assert.notEqual(processMark(process.pid), undefined)
  })
})
