import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Peers } from './peerTypes.ts'

/*
 * What Tidemark is measured beside, installed apart from the project's own dependencies: in peers/, by its lockfile, the first
 * time that a part needs one.
 */

const FOLDER = join(import.meta.dirname, 'peers')
const INSTALLED = join(FOLDER, 'node_modules')
const MANIFEST = ['package.json', 'package-lock.json', '.npmrc']

/** Beside the project's own packages, where nothing that walks the tree looks. */
const STAGING = resolve(import.meta.dirname, '../../node_modules')

interface Manifest {
  readonly version?: string
  readonly dependencies?: Readonly<Record<string, string>>
}

/** A peer's module, installed before if it is missing or of another version than the lockfile's. */
export async function loadPeer<N extends keyof Peers>(name: N): Promise<Peers[N]> {
  installation ??= install()
  await installation
  const path = createRequire(join(FOLDER, 'package.json')).resolve(name)
  return (await import(pathToFileURL(path).href)) as Peers[N] // the types are of the versions in the manifest
}

/** `graphile-worker 0.18.0`: what a table says. */
export function peerVersion(name: keyof Peers): string {
  return `${name} ${wanted()[name] ?? '?'}`
}

let installation: Promise<void> | undefined

async function install(): Promise<void> {
  const lacking = Object.entries(wanted()).filter(([name, version]) => version !== installedVersion(name))
  if (lacking.length === 0) return
  process.stderr.write(
    `installing ${lacking.map((peer) => peer.join(' ')).join(', ')} (npm ci in scripts/bench/peers)\n`,
  )
  // Installed elsewhere and moved here whole: another bench may be doing the same, and either may be interrupted.
  mkdirSync(STAGING, { recursive: true })
  const staged = mkdtempSync(join(STAGING, '.bench-peers-'))
  try {
    for (const file of MANIFEST) cpSync(join(FOLDER, file), join(staged, file))
    await npmCi(staged)
    if (existsSync(INSTALLED)) renameSync(INSTALLED, join(staged, 'replaced'))
    renameSync(join(staged, 'node_modules'), INSTALLED)
  } catch (error) {
    const stillLacking = Object.entries(wanted()).some(
      ([name, version]) => version !== installedVersion(name),
    )
    if (stillLacking) throw error
  } finally {
    rmSync(staged, { recursive: true, force: true })
  }
}

async function npmCi(folder: string): Promise<void> {
  const npm = spawn('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: folder,
    // stdout is the bench's own: --json prints one document there.
    stdio: ['ignore', process.stderr, process.stderr],
    // npm itself runs on the first node of the PATH, and looks there whether packages fit.
    env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}` },
    shell: process.platform === 'win32',
  })
  const [code] = (await once(npm, 'exit')) as [number | null]
  if (code !== 0)
    throw new Error(`the peers of the bench could not be installed: npm ci ended with ${code ?? 'a signal'}`)
}

function wanted(): Readonly<Record<string, string>> {
  return read(join(FOLDER, 'package.json')).dependencies ?? {}
}

function installedVersion(name: string): string | undefined {
  const file = join(INSTALLED, name, 'package.json')
  return existsSync(file) ? read(file).version : undefined
}

function read(file: string): Manifest {
  return JSON.parse(readFileSync(file, 'utf8')) as Manifest
}
