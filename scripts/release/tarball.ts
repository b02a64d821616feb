import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'

/*
 * The package as it is published: packed, and looked at. Whoever installs it gets this file and nothing else, so everything that
 * is said of the package is said of it.
 */

const run = promisify(execFile)

export interface Tarball {
  readonly file: string
  readonly bytes: number
  readonly unpackedBytes: number
  /** Paths in the package. */
  readonly paths: readonly string[]
}

/** A quick look at an app's dependencies is what people get first: theirs is to be small. */
export const MOST_BYTES = 1_000_000

/** Builds and packs the package of this folder into another one. */
export async function pack(root: string, folder: string): Promise<Tarball> {
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder], {
    cwd: root,
    maxBuffer: 2 ** 26,
  })
  // What the build prints comes before.
  const [packed] = JSON.parse(stdout.slice(stdout.search(/^\[/m))) as {
    filename: string
    size: number
    unpackedSize: number
    files: { path: string }[]
  }[]
  if (packed === undefined) throw new Error('npm pack made nothing')
  return {
    file: join(folder, packed.filename),
    bytes: packed.size,
    unpackedBytes: packed.unpackedSize,
    paths: packed.files.map(({ path }) => path),
  }
}

/** What a package must bring, and what it must not. */
const WANTED = [
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
  'bin/tidemark.js',
  'dist/index.js',
  'dist/index.d.ts',
  'dist/cli/main.js',
  'assets/dashboard.css',
  'assets/init/gitignore',
  'sql/queries/inbox.sql',
]
const UNWANTED = /\.png$|^src\/|^tests\/|\.test\.js$|tsbuildinfo|^sql\/schema\.txt$/

/** Everything that is wrong with the package, each in a line; none: it may be published. */
export async function packageFaults({ file, bytes, paths }: Tarball, root: string): Promise<string[]> {
  const size = bytes < MOST_BYTES ? [] : [`it has ${bytes} bytes, and ${MOST_BYTES} are the most`]
  const missing = WANTED.filter((path) => !paths.includes(path)).map((path) => `${path} is not in it`)
  const surplus = paths.filter((path) => UNWANTED.test(path)).map((path) => `${path} is in it`)
  return [...size, ...missing, ...surplus, ...(await publintFaults(file)), ...(await typesFaults(file, root))]
}

async function publintFaults(file: string): Promise<string[]> {
  const bytes = await readFile(file)
  const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
  const { messages, pkg } = await publint({ pack: { tarball }, strict: true })
  return messages.map((message) => `publint: ${formatMessage(message, pkg) ?? message.code}`)
}

/** Whether types resolve under every `moduleResolution` that knows modules; node10 and require() know none. */
async function typesFaults(file: string, root: string): Promise<string[]> {
  const cli = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js')
  try {
    await run(process.execPath, [
      cli,
      file,
      '--profile',
      'esm-only',
      '--format',
      'ascii',
      '--no-color',
      '--no-emoji',
    ])
    return []
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    return [`types: ${stdout}${stderr}`.trim()]
  }
}
