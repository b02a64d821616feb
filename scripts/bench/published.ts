import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const ROOT = resolve(import.meta.dirname, '../..')

let made: Promise<string> | undefined

/**
 * The program as it is published: compiled, in a folder of its own, which goes with this process. A checkout loads its sources,
 * and what strips their types takes time and memory that no user pays. Resolves to its `bin/tidemark.js`; made once.
 */
export function publishedBin(): Promise<string> {
  return (made ??= make())
}

async function make(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-package-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  for (const part of ['assets', 'bin', 'sql', 'package.json'])
    cpSync(join(ROOT, part), join(folder, part), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const args = [tsc, '-p', join(ROOT, 'tsconfig.build.json'), '--outDir', join(folder, 'dist')]
  await promisify(execFile)(process.execPath, args, { cwd: ROOT })
  return join(folder, 'bin/tidemark.js')
}
