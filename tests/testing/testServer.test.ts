import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { layoutOf } from '../../src/db/embedded/cluster.ts'
import { findPostmaster } from '../../src/db/embedded/server.ts'
import { keeperLives } from '../../src/testing/keeperFile.ts'
import { until } from '../support/until.ts'
import { startMaker } from './processes.ts'

test('the embedded server is shared by test processes, and ends after the last of them, killed or not', async (t) => {
  const TMPDIR = mkdtempSync(join(tmpdir(), 'tidemark-shared-'))
  t.after(() => rmSync(TMPDIR, { recursive: true, force: true }))
  const folder = (): string =>
    join(TMPDIR, readdirSync(TMPDIR).find((name) => name.startsWith('tidemark-testing-')) ?? '')
  const isOver = (): boolean => findPostmaster(layoutOf(folder())) === undefined && !keeperLives(folder())

  const staying = startMaker(t, { TMPDIR, STAYS: '1' })
  const ending = startMaker(t, { TMPDIR })
  const [first, second] = await Promise.all([staying.made, ending.made])
  assert.equal(first.postmaster, second.postmaster)
  assert.equal(await ending.ended, 0)
  assert.ok(!isOver(), 'somebody uses it')

  await staying.kill()
  const killedAt = performance.now()
  await until('the server and its keeper to end', isOver)
  t.diagnostic(
    `the server ended ${Math.round(performance.now() - killedAt)} ms after the last process was killed`,
  )

  const startedAt = performance.now()
  const later = startMaker(t, { TMPDIR })
  await later.made
  // Its own file and the keeper's; those of the processes before it are gone.
  assert.ok(readdirSync(layoutOf(folder()).users).length <= 2)
  t.diagnostic(
    `the next run had its database after ${Math.round(performance.now() - startedAt)} ms, its process included`,
  )
  assert.equal(await later.ended, 0)
  await until('the server to end again', isOver)
})
