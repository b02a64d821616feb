import assert from 'node:assert/strict'
import { mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { tidemark } from './tidemark.ts'
import type { RunOptions } from './tidemark.ts'

async function emptyFolder(context: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-cli-'))
  context.after(() => rm(folder, { recursive: true }))
  return folder
}

describe('the command line', () => {
  test('names an unknown verb or flag and exits 64', async () => {
    const cases: [args: string[], named: RegExp][] = [
      [['frobnicate'], /frobnicate/],
      [['statsu'], /statsu[\s\S]*status/],
      [['status', '--frob'], /--frob/],
      [['start', '--only', 'pollers,cooks'], /cooks/],
      [['poll'], /name/],
      [['verify', 'twice'], /too many arguments/],
    ]
    for (const [args, named] of cases) {
      const { code, stdout, stderr } = await tidemark(args)
      assert.deepEqual([code, stdout], [64, ''], args.join(' '))
      assert.match(stderr, named)
    }
  })

  test("compiles a checkout once for its own processes, and nobody else's", async (context) => {
    const folder = await emptyFolder(context)
    const told = join(folder, 'told.mjs')
    const text = `import { getCompileCacheDir } from 'node:module'
      process.on('exit', () => console.error(JSON.stringify([process.env.NODE_COMPILE_CACHE, getCompileCacheDir()])))`
    await writeFile(told, text)
    const run = async (env: Record<string, string>): Promise<(string | null | undefined)[]> => {
      const options = { cwd: folder, env: { NODE_OPTIONS: `--import=${told}`, ...env } }
      const { stderr } = await tidemark(['--version'], options)
      return JSON.parse(stderr) as (string | null | undefined)[]
    }
    const [variable, cache] = await run({})
    assert.equal(variable, null, 'what a handler starts would write its own there')
    assert.match(cache ?? '', /\.cache.tidemark/)
    // Empty: there is to be none, least of all in the folder that somebody stands in.
    assert.deepEqual(await run({ NODE_COMPILE_CACHE: '' }), ['', null])
    assert.deepEqual(await readdir(folder), ['told.mjs'])
  })

  test('shows help and version on stdout and exits 0', async () => {
    const version = await tidemark(['--version'])
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
    for (const args of [['--help'], ['status', '--help']]) {
      const { code, stdout } = await tidemark(args)
      assert.equal(code, 0)
      assert.match(stdout, /^Usage: tidemark/)
    }
    const { stdout } = await tidemark(['status', '--help'])
    assert.match(stdout, /--json/)
    assert.match(stdout, /--config/)
  })

  test('without a verb shows the help on stderr and exits 64', async () => {
    const { code, stderr } = await tidemark([])
    assert.equal(code, 64)
    assert.match(stderr, /^Usage: tidemark/)
  })
})

describe('bad settings', () => {
  test('are all named, on stderr, and exit 78', async () => {
    for (const verb of ['verify', 'migrate', 'start']) {
      const env = { PORT: 'abc', LOG_LEVEL: 'loud', DATABASE_URL: 'mysql://me:hunter2@db/app' }
      const { code, stdout, stderr } = await tidemark([verb, ...(verb === 'start' ? ['--demo'] : [])], {
        env,
      })
      assert.deepEqual([code, stdout], [78, ''], verb)
      for (const name of ['PORT', 'LOG_LEVEL', 'DATABASE_URL']) assert.match(stderr, new RegExp(name))
      assert.doesNotMatch(stderr, /hunter2/)
    }
  })

  test('of start are JSON lines where no terminal reads them', async () => {
    const { stderr } = await tidemark(['start', '--demo'], { env: { PORT: 'abc', LOG_LEVEL: 'loud' } })
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    assert.deepEqual(
      lines.map(({ event, level, what }) => [event, level, what]),
      [
        ['config_invalid', 'error', 'PORT'],
        ['config_invalid', 'error', 'LOG_LEVEL'],
      ],
    )
  })

  test('and a bad config file are named together', async (context) => {
    const cwd = await emptyFolder(context)
    await writeFile(join(cwd, 'mine.mjs'), 'export default { pollers: { Orders: {} }, nonsense: 1 }')
    const { code, stderr } = await tidemark(['start', '--config', 'mine.mjs'], { cwd, env: { PORT: 'abc' } })
    assert.equal(code, 78)
    for (const named of [/PORT/, /pollers\.Orders/, /nonsense/, /mine\.mjs/]) assert.match(stderr, named)
  })
})

describe('the config file', () => {
  test('whose object throws when it is read exits 78 and is named', async (context) => {
    const cwd = await emptyFolder(context)
    await writeFile(
      join(cwd, 'odd.mjs'),
      `export default { get pollers() { throw new RangeError('no such plan') } }`,
    )
    const { code, stderr } = await tidemark(['start', '--config', 'odd.mjs'], { cwd })
    assert.equal(code, 78)
    const line = JSON.parse(stderr) as Record<string, unknown>
    assert.deepEqual([line['event'], line['what']], ['config_invalid', 'odd.mjs'])
    assert.match(String(line['expected']), /it threw RangeError: no such plan/)
  })

  test('that is named and missing exits 78, of any verb', async (context) => {
    const cwd = await emptyFolder(context)
    for (const verb of ['start', 'status']) {
      const { code, stderr } = await tidemark([verb, '--config', 'gone.ts'], { cwd })
      assert.equal(code, 78)
      assert.match(stderr, /gone\.ts/)
    }
  })

  test('is needed by start, which says what to do', async (context) => {
    const { code, stderr } = await tidemark(['start'], { cwd: await emptyFolder(context) })
    assert.equal(code, 78)
    assert.match(stderr, /--demo/)
  })
})

/** A verb of each way to the database, and its exit code where there is none. */
const ON_A_DATABASE: readonly (readonly [line: string, code: number])[] = [
  ['status', 1],
  ['verify', 2],
  ['migrate', 1],
  ['inbox retry --status DEAD', 1],
  ['poll message_poller', 1],
  ['wake off message_poller', 1],
]

/** What each of them says, on stderr alone, below `tidemark: ` or `could not run: `. */
async function saidBy(options: RunOptions): Promise<Set<string>> {
  const said = new Set<string>()
  for (const [line, expected] of ON_A_DATABASE) {
    const { code, stdout, stderr } = await tidemark(line.split(' '), options)
    assert.deepEqual([code, stdout], [expected, ''], `${line}: ${stderr}`)
    said.add(stderr.replace(/^(tidemark|could not run): /, ''))
  }
  return said
}

test('verbs without any database all say that no embedded server runs, where, and what to do', async (context) => {
  const cwd = await emptyFolder(context)
  const [said = '', ...others] = await saidBy({ cwd })
  assert.deepEqual(others, [])
  assert.equal(
    said,
    `no database: DATABASE_URL is not set, and no embedded server runs on ${join(await realpath(cwd), '.tidemark')}. ` +
      'Remedy: start one with `npx tidemark start --demo` in another terminal, or set DATABASE_URL\n',
  )
})

test('verbs whose database is away all say which, by what setting and why, without the password', async (context) => {
  // Port 1 is nobody's.
  const env = { DATABASE_URL: 'postgres://me:hunter2@127.0.0.1:1/app' }
  const [said = '', ...others] = await saidBy({ cwd: await emptyFolder(context), env })
  assert.deepEqual(others, [])
  assert.equal(
    said,
    'the database cannot be used: 127.0.0.1:1/app (DATABASE_URL): connect ECONNREFUSED 127.0.0.1:1. ' +
      'Remedy: see that it is up, and that DATABASE_URL is right\n',
  )
})

test('a database that lets nobody in, or is not there, is told in the same way', async (context) => {
  const { url } = await createDatabase(context)
  const gone = new URL(url)
  gone.pathname = '/nowhere'
  const { code, stderr } = await tidemark(['status'], { env: { DATABASE_URL: gone.href } })
  assert.equal(code, 1)
  assert.match(stderr, /cannot be used: .*\/nowhere \(DATABASE_URL\): .*\[3D000\].*Remedy/)
  const env = { DATABASE_URL: url, DIRECT_DATABASE_URL: 'postgres://me:hunter2@127.0.0.1:1/app' }
  const migrated = await tidemark(['migrate'], { env })
  assert.match(
    migrated.stderr,
    /127\.0\.0\.1:1\/app \(DIRECT_DATABASE_URL\): .*that DIRECT_DATABASE_URL is right/,
  )
  assert.doesNotMatch(migrated.stderr, /hunter2/)
})
