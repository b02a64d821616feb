/**
 * Keeps the server of tests for as long as a test process lives that uses it: a process of its own, started by the first of
 * them (testServer.ts).
 *
 *     starting ──▶ keeping ──nobody left, for a moment──▶ the server is stopped, the keeper ends
 *                     └──the server ended──▶ the keeper ends; the next test process starts both anew
 *
 * A test process cannot stop the server itself: how test runners end their processes and threads is theirs to say, and some of
 * them are killed. Users are known by files that name their process (db/embedded/users.ts), so one that was killed counts no more.
 * The moment lets the next test file, in a process of its own, find a server that runs.
 *
 * Whoever comes while it decides holds the folder's lock, or waits for it: either the keeper sees the newcomer and stays, or the
 * newcomer sees no keeper and starts one.
 */
import { rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { useEmbedded } from '../db/embedded.ts'
import { layoutOf } from '../db/embedded/cluster.ts'
import type { Layout } from '../db/embedded/cluster.ts'
import { withFolderLock } from '../db/embedded/lock.ts'
import { findPostmaster, stopPostmaster } from '../db/embedded/server.ts'
import { livingUsers } from '../db/embedded/users.ts'
import { FOLDER_VARIABLE, keeperFile } from './keeperFile.ts'

const LOOK_MS = 100

/** Between two test files that follow one another a process ends and another starts. */
const LINGER_MS = 1_000

/** Many test files may use it at once, each with a runner of its own. Its data need not survive a crash. */
const SETTINGS = { max_connections: '300', max_prepared_transactions: '100' }

async function keep(folder: string): Promise<void> {
  const layout = layoutOf(folder)
  await useEmbedded(folder, { durable: false, settings: SETTINGS })
  let usedAt = performance.now()
  for (;;) {
    await delay(LOOK_MS)
    if (isUsed(layout)) usedAt = performance.now()
    const isOver = findPostmaster(layout) === undefined || performance.now() - usedAt > LINGER_MS
    if (isOver && (await end(folder, layout))) return
  }
}

/** False: somebody has come meanwhile. */
function end(folder: string, layout: Layout): Promise<boolean> {
  return withFolderLock(layout.lock, async () => {
    const runs = findPostmaster(layout) !== undefined
    if (runs && isUsed(layout)) return false
    if (runs) await stopPostmaster(layout)
    rmSync(keeperFile(folder), { force: true })
    return true
  })
}

/** By another than this process. */
function isUsed({ users }: Layout): boolean {
  return livingUsers(users).some((name) => !name.startsWith(`${process.pid}.`))
}

await keep(process.env[FOLDER_VARIABLE] ?? '')
