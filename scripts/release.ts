import { execFileSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { readinessOf } from './release/readiness.ts'
import { packageFaults, pack, type Tarball } from './release/tarball.ts'

/*
 * npm run release: looks whether the version of package.json can be released (tree, changelog, tag), packs it and looks at the
 * package. That is all, without --apply: with it every check is run first, and the tag is made. Publishing is left to a person,
 * with the commands that this prints. docs/versioning.md says what a version promises.
 */

const root = resolve(import.meta.dirname, '..')

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { apply: { type: 'boolean', default: false } } })
  const { version, tag, faults } = readinessOf(root)
  if (faults.length > 0) return refuse(`${version} cannot be released`, faults)
  if (values.apply) execFileSync('npm', ['run', 'check'], { cwd: root, stdio: 'inherit' })
  else say('npm run check       left out: --apply runs it')

  const tarball = await pack(root, mkdtempSync(join(tmpdir(), 'tidemark-release-')))
  sayTarball(tarball)
  const wrong = await packageFaults(tarball, root)
  if (wrong.length > 0) return refuse('the package cannot be published', wrong)
  say('package             complete; publint and are-the-types-wrong find nothing')

  if (values.apply)
    execFileSync('git', ['tag', '--annotate', tag, '--message', `Tidemark ${version}`], { cwd: root })
  say(`tag                 ${tag}${values.apply ? '' : ' left out: --apply makes it'}`)
  say('')
  say(values.apply ? 'To publish it:' : 'A dry run: nothing was made but the package. After --apply:')
  say(`  git push origin HEAD ${tag}`)
  say(`  npm publish ${tarball.file} --access public${version.includes('-') ? ' --tag next' : ''}`)
  return 0
}

function sayTarball({ file, bytes, unpackedBytes, paths }: Tarball): void {
  const kilobytes = (n: number): string => `${Math.round(n / 1000)} kB`
  say(
    `npm pack            ${file}: ${kilobytes(bytes)}, ${kilobytes(unpackedBytes)} unpacked, ${paths.length} files`,
  )
}

function refuse(what: string, faults: readonly string[]): number {
  process.stderr.write(`release: ${what}:\n${faults.map((fault) => `  ${fault}\n`).join('')}`)
  return 1
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

process.exitCode = await main()
