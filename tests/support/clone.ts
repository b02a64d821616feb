import { execFileSync, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Scope } from './scope.ts'
import { until } from './until.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** Folders that no clone brings, for a project that is no git checkout. */
const NOT_CLONED = new Set(['.git', '.tidemark', 'coverage', 'dist', 'node_modules'])

/**
 * Copies what git would clone, and what is not committed yet, into a folder that only this user can enter. Installed
 * packages are linked: `npm ci` takes long, and needs a registry.
 */
export function cloneProject(scope: Scope): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-clone-'))
  scope.after(() => rmSync(folder, { recursive: true, force: true }))
  const known = gitFiles()
  cpSync(ROOT, folder, {
    recursive: true,
    filter: (from) => {
      const path = from.slice(ROOT.length + 1)
      return known === undefined ? !NOT_CLONED.has(path) : path === '' || known.has(path)
    },
  })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** Files of the checkout and the folders above them; undefined where there is no git. */
function gitFiles(): Set<string> | undefined {
  try {
    const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const paths = list
      .split('\0')
      .flatMap((file) => file.split('/').map((_, i, parts) => parts.slice(0, i + 1).join('/')))
    return new Set(paths)
  } catch {
    return undefined
  }
}

/** A command in a terminal of its own: what it prints, and keys that reach its whole process group. */
export interface Terminal {
  readonly printed: string
  /** Waits until it has printed this, and gives what matched. */
  prints(pattern: RegExp, limitMs?: number): Promise<RegExpExecArray>
  /** Ctrl-C, or any other signal, as a terminal sends it: to every process of the group. */
  signal(signal: NodeJS.Signals): void
  readonly ended: Promise<number | null>
}

export function inTerminal(
  scope: Scope,
  folder: string,
  command: string,
  env: Readonly<Record<string, string>>,
): Terminal {
  const child = spawn('sh', ['-c', command], {
    cwd: folder,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '', HOME: folder, ...env },
  })
  let printed = ''
  const keep = (text: string): void => void (printed += text)
  child.stdout.setEncoding('utf8').on('data', keep)
  child.stderr.setEncoding('utf8').on('data', keep)
  let over = false
  const ended = new Promise<number | null>((done) => child.on('close', done)).finally(() => (over = true))
  const signal = (name: NodeJS.Signals): void => {
    if (!over && child.pid !== undefined) process.kill(-child.pid, name)
  }
  scope.after(async () => {
    signal('SIGKILL')
    await ended
  })
  return {
    get printed() {
      return printed
    },
    prints: (pattern, limitMs) =>
      until(
        `${command} to print ${String(pattern)}`,
        () => {
          const match = pattern.exec(printed)
          if (match === null && over)
            throw new Error(`${command} ended without ${String(pattern)}:\n${printed}`)
          return match ?? undefined
        },
        limitMs,
      ),
    signal,
    ended,
  }
}
