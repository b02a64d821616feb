import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { EmbeddedPostgresFailed, EmbeddedPostgresVersion } from '../../errors.ts'
import type { Account } from './account.ts'
import type { Binaries } from './binaries.ts'

/** Superuser of the cluster, and name of the one database in it. */
export const OWNER = 'tidemark'

const execFileAsync = promisify(execFile)

/** Where everything of an embedded server stands inside its data folder. */
export interface Layout {
  readonly root: string
  /** Folder of the server's account; the cluster is inside it. */
  readonly home: string
  readonly cluster: string
  readonly log: string
  readonly password: string
  readonly port: string
  readonly lock: string
  readonly users: string
}

export function layoutOf(dataDir: string): Layout {
  const root = existsSync(dataDir) ? realpathSync(dataDir) : dataDir
  const home = join(root, 'postgres')
  return {
    root,
    home,
    cluster: join(home, 'data'),
    log: join(root, 'postgres.log'),
    password: join(root, 'password'),
    port: join(root, 'port'),
    lock: join(root, 'lock'),
    users: join(root, 'users'),
  }
}

/**
 * How the server is told of the folder that it works in, which is its working directory.
 *
 * On Linux by the link that means "where I am", because a server that runs under another account than ours may not
 * be able to walk there: in a clone below a home of mode 700, root enters the folder first and then becomes the
 * server's user, who has all rights from there on down and needs none above. (Node changes directory before user.)
 */
export const HERE = process.platform === 'linux' ? '/proc/self/cwd' : '.'

/** Nothing of ours in the environment (PGDATA, PGOPTIONS, a locale) may reach the server. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' }
}

/**
 * Makes the cluster where there is none. It is made beside its place and moved there when complete, so that a kill
 * at any moment leaves either no cluster or a whole one.
 *
 * @throws EmbeddedPostgresVersion when the cluster there was made by another major version.
 */
export async function ensureCluster(
  layout: Layout,
  binaries: Binaries,
  account: Account | undefined,
  durable: boolean,
): Promise<void> {
  const versionFile = join(layout.cluster, 'PG_VERSION')
  if (existsSync(versionFile)) {
    const found = readFileSync(versionFile, 'utf8').trim()
    if (found !== binaries.major) throw new EmbeddedPostgresVersion(layout.root, found, binaries.major)
    return
  }
  mkdirSync(layout.home, { recursive: true, mode: 0o700 })
  give(layout.home, account)
  for (const left of readdirSync(layout.home)) {
    if (left.startsWith('draft-')) rmSync(join(layout.home, left), { recursive: true, force: true })
  }
  const draft = join(layout.home, `draft-${randomBytes(6).toString('hex')}`)
  mkdirSync(draft, { mode: 0o700 })
  give(draft, account)
  const password = `${draft}-password`
  writeFileSync(password, ensurePassword(layout), { mode: 0o600 })
  give(password, account)
  try {
    await execFileAsync(
      binaries.initdb,
      initdbArguments(`../${password.slice(layout.home.length + 1)}`, durable, Number(binaries.major)),
      {
        ...account,
        cwd: draft,
        env: serverEnvironment(),
      },
    )
    renameSync(draft, layout.cluster)
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    throw new EmbeddedPostgresFailed(`initdb could not make a database in ${layout.home}`, { cause: error })
  } finally {
    rmSync(password, { force: true })
  }
}

function initdbArguments(passwordFile: string, durable: boolean, major: number): string[] {
  return [
    `--pgdata=${HERE}`,
    `--username=${OWNER}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // Sorting by code point is the same on every machine; the builtin provider needs no locale of the system's.
    '--locale=C',
    ...(major >= 17 ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8'] : ['--lc-ctype=C.UTF-8']),
    ...(major >= 14 ? ['--no-instructions'] : []),
    ...(durable ? [] : ['--no-sync']),
  ]
}

/** The password comes before the cluster: one made with a password that nobody kept could never be entered. */
function ensurePassword(layout: Layout): string {
  if (!existsSync(layout.password)) {
    writeFileSync(layout.password, randomBytes(24).toString('base64url'), { mode: 0o600 })
  }
  chmodSync(layout.password, 0o600)
  return readFileSync(layout.password, 'utf8')
}

function give(path: string, account: Account | undefined): void {
  if (account !== undefined) chownSync(path, account.uid, account.gid)
}
