import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Rehearsal } from '../../src/rehearse/rehearsal.ts'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

const TABLES = `
  CREATE SCHEMA shop;
  CREATE TABLE shop.orders (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz NOT NULL DEFAULT now(), item text NOT NULL);
  CREATE TABLE shop.mails (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now());
  CREATE TABLE shop.calls (id text PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), body jsonb NOT NULL);
  CREATE TABLE shop.parcels (order_id uuid NOT NULL, item text NOT NULL);`

/** Each contract once, one of them exclusive. */
const CONFIG = `export default {
  pollers: {
    orders: { source: { table: 'shop.orders', id: 'id', createdAt: 'created_at' }, every: '1s' },
    mails: { source: { table: 'shop.mails', id: 'id', createdAt: 'created_at' }, every: '1s' },
    calls: { source: { table: 'shop.calls', id: 'id', createdAt: 'created_at' }, every: '1s' },
  },
  processors: {
    packing: { from: 'orders', contract: 'transactional', async handle({ messageId, payload }, { tx }) {
      await tx.query('INSERT INTO shop.parcels VALUES ($1, $2)', [messageId, payload.item])
    } },
    post: { from: 'mails', contract: 'external', exclusive: true, async handle() { await new Promise((done) => setTimeout(done, 20)) } },
    phone: { from: 'calls', async handleBatch() { await new Promise((done) => setTimeout(done, 20)) } },
  },
}`

/** A folder with the config and the tables, that is also the place for temporary files: nothing else may be left in it. */
async function appFolder(t: TestContext, config = CONFIG): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-app-'))
  t.after(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'tidemark.config.mjs'), config)
  await writeFile(join(folder, 'tables.sql'), TABLES)
  return folder
}

const LEFT = ['tables.sql', 'tidemark.config.mjs']

describe('a rehearsal of a config of the user’s', () => {
  test('with kills: processes die, and every row is processed, each once', async (t) => {
    const folder = await appFolder(t)
    const flags = ['--deploys', '2', '--overlap', '3', '--rate', '60', '--kill', '--seed', '7', '--json']
    const { code, stdout, stderr } = await tidemark(['rehearse', '--setup', 'tables.sql', ...flags], {
      cwd: folder,
      env: { TMPDIR: folder },
    })
    assert.equal(code, 0, stderr + stdout)
    const result = JSON.parse(stdout) as Rehearsal
    const { machines, sources } = result
    assert.deepEqual(
      [machines.deploys, machines.killed_leaders, machines.killed_greens, machines.aborted],
      [2, 1, 1, 1],
    )
    assert.deepEqual([machines.crashed, machines.killed_at_limit, result.seed], [0, 0, 7])
    assert.deepEqual(
      sources.map(({ poller, contract }) => [poller, contract]),
      [
        ['orders', 'transactional'],
        ['mails', 'external'],
        ['calls', 'external'],
      ],
    )
    for (const source of sources) {
      assert.ok(source.written > 20 && source.done === source.written, `${source.poller}: ${stdout}`)
      assert.deepEqual(
        [source.lost.count, source.doubled.count, source.attempts_burned.count],
        [0, 0, 0],
        stdout,
      )
    }
    assert.ok(result.leader_changes.some(({ reason }) => reason === 'took_over'))
    assert.deepEqual(await readdir(folder), LEFT)
  })

  test('fails when a row is lost or an effect doubled, names it, and keeps what the machines said', async (t) => {
    const folder = await appFolder(t)
    const database = await createDatabase(t, { migrated: false })
    const pool = database.pool()
    const flags = ['--setup', 'tables.sql', '--deploys', '1', '--overlap', '3', '--instances', '1', '--json']
    const rehearsing = tidemark(['rehearse', ...flags], {
      cwd: folder,
      env: { TMPDIR: folder, DATABASE_URL: database.url },
    })
    const finished = `SELECT message_id FROM service_ops.integration_inbox WHERE source = 'orders' AND status = 'DONE' LIMIT 2`
    const [lost, doubled] = await until(
      'two orders to be done',
      async () => {
        // The tables are not there at first.
        const found = pool.query<{ message_id: string }>(finished).then(({ rows }) => rows)
        const rows = await found.catch((): { message_id: string }[] => [])
        return rows.length === 2 && rows.map(({ message_id: id }) => id)
      },
      120_000,
    )
    // Together with its row: a later pass would take that in again.
    await pool.query(
      `WITH gone AS (DELETE FROM shop.orders WHERE id::text = $1 RETURNING id)
       DELETE FROM service_ops.integration_inbox m USING gone WHERE m.source = 'orders' AND m.message_id = gone.id::text`,
      [lost],
    )
    await pool.query(
      `INSERT INTO tidemark_rehearsal.effect (source, message_id, machine) VALUES ('orders', $1, 'test')`,
      [doubled],
    )
    const { code, stdout, stderr } = await rehearsing
    assert.equal(code, 1, stderr)
    const result = JSON.parse(stdout) as Rehearsal
    assert.equal(result.ok, false)
    const orders = result.sources.find(({ poller }) => poller === 'orders')
    assert.deepEqual(
      [orders?.lost, orders?.doubled],
      [
        { count: 1, first: [lost] },
        { count: 1, first: [doubled] },
      ],
    )
    const [, logs = ''] = /What the machines said is in (\S+)/.exec(stderr) ?? []
    assert.deepEqual(await readdir(logs), ['blue0-1.log', 'green1-1.log'])
  })

  test('refuses a database that somebody uses, and says how to get another', async (t) => {
    const folder = await appFolder(t)
    const database = await createDatabase(t)
    const pool = database.pool()
    await pool.query(TABLES)
    const rehearse = (): ReturnType<typeof tidemark> =>
      tidemark(['rehearse'], { cwd: folder, env: { TMPDIR: folder, DATABASE_URL: database.url } })
    await pool.query(`INSERT INTO shop.orders (item) VALUES ('tea')`)
    const used = await rehearse()
    assert.equal(used.code, 1)
    assert.match(used.stderr, /not look like scratch: "shop"\."orders" has rows: .*--setup/)

    await pool.query('TRUNCATE shop.orders')
    const instance = await startInstance(t, { databaseUrl: database.url, config: CONFIG })
    await instance.said('ready')
    const lived = await rehearse()
    assert.equal(lived.code, 1)
    assert.match(lived.stderr, new RegExp(`the instance ${instance.id} runs on it`))
    const { rows } = await pool.query(`SELECT FROM pg_namespace WHERE nspname = 'tidemark_rehearsal'`)
    assert.deepEqual(rows, [], 'nothing was written')
    instance.kill('SIGTERM')
    await instance.exited
    assert.deepEqual(await readdir(folder), LEFT)
  })

  test('says which row it cannot make, and which task does not start', async (t) => {
    const folder = await appFolder(t)
    await writeFile(join(folder, 'strict.sql'), "ALTER TABLE shop.orders ADD CHECK (item IN ('tea', 'cups'))")
    const impossible = await tidemark(['rehearse', '--setup', 'tables.sql', '--setup', 'strict.sql'], {
      cwd: folder,
      env: { TMPDIR: folder },
    })
    assert.equal(impossible.code, 1)
    assert.match(
      impossible.stderr,
      /no row could be made for shop\.orders, .*orders_item_check.*--insert 'INSERT INTO shop\.orders/,
    )
    const faulty = await appFolder(
      t,
      CONFIG.replace("every: '1s'", "every: '1s', startFrom: '2020-01-01T00:00:00Z', retention: '1h'"),
    )
    await writeFile(join(faulty, 'faulty.sql'), 'ALTER TABLE shop.orders ALTER COLUMN created_at TYPE date')
    const started = await tidemark(['rehearse', '--setup', 'tables.sql', '--setup', 'faulty.sql'], {
      cwd: faulty,
      env: { TMPDIR: faulty },
    })
    assert.equal(started.code, 1)
    assert.match(started.stderr, /orders failed to start: .*created_at is date/)
  })

  test('does not go green where nothing was tested', async (t) => {
    const none = await appFolder(t, 'export default {}')
    const idle = await tidemark(['rehearse'], { cwd: none, env: { TMPDIR: none } })
    assert.equal(idle.code, 1)
    assert.match(idle.stderr, /no poller, so there is nothing to rehearse/)

    // What the probe lets through may be kept out later: here by the first row that is committed.
    const kept = await appFolder(
      t,
      `export default { pollers: { p: { every: '1s',
        source: { table: 'shop.mails', id: 'id', createdAt: 'created_at', where: 'NOT EXISTS (SELECT FROM shop.closed)' } } } }`,
    )
    await writeFile(
      join(kept, 'closed.sql'),
      `CREATE TABLE shop.closed ();
       CREATE FUNCTION shop.close() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO shop.closed DEFAULT VALUES; RETURN NULL; END';
       CREATE CONSTRAINT TRIGGER close AFTER INSERT ON shop.mails DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.close()`,
    )
    const setup = ['--setup', 'tables.sql', '--setup', 'closed.sql']
    const flags = [...setup, '--deploys', '1', '--overlap', '0', '--instances', '1', '--json']
    const { code, stdout, stderr } = await tidemark(['rehearse', ...flags], {
      cwd: kept,
      env: { TMPDIR: kept },
    })
    assert.equal(code, 1, stderr + stdout)
    const result = JSON.parse(stdout) as Rehearsal
    assert.deepEqual([result.ok, result.lost, result.not_tested], [false, 0, ['p']])
    assert.ok(result.written > 0)
  })

  test('Ctrl-C ends every process and leaves nothing behind', async (t) => {
    const folder = await appFolder(t)
    const bin = resolve(import.meta.dirname, '../../bin/tidemark.js')
    const child = spawn(process.execPath, [bin, 'rehearse', '--setup', 'tables.sql'], {
      cwd: folder,
      // A process group of its own, as a terminal gives to what it runs.
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '', TMPDIR: folder },
    })
    let printed = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (printed += text))
    const ended = new Promise<number | null>((done) => child.on('close', done))
    const { pid = 0 } = child
    const group = (signal: NodeJS.Signals | 0): boolean => {
      try {
        return process.kill(-pid, signal)
      } catch {
        return false
      }
    }
    t.after(() => group('SIGKILL'))
    await until('both colours to run', () => printed.includes('both run'), 120_000)
    group('SIGINT')
    assert.equal(await ended, 130, printed)
    assert.match(printed, /^stopped; nothing was counted$/m)
    assert.equal(group(0), false, 'a process of the group still runs')
    assert.deepEqual(await readdir(folder), LEFT)
  })

  test('leaves an app’s database alone where there is no config file, and names one that does not answer', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-none-'))
    t.after(() => rm(folder, { recursive: true }))
    const database = await createDatabase(t, { migrated: false })
    const pool = database.pool()
    await pool.query(TABLES)
    const rehearse = (url: string): ReturnType<typeof tidemark> =>
      tidemark(['rehearse'], { cwd: folder, env: { TMPDIR: folder, DATABASE_URL: url } })
    const refused = await rehearse(database.url)
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /such as shop\.calls.*unset DATABASE_URL/)
    const { rows } = await pool.query(
      `SELECT FROM pg_namespace WHERE nspname IN ('service_ops', 'tidemark_rehearsal')`,
    )
    assert.deepEqual(rows, [])

    const nowhere = new URL(database.url)
    nowhere.pathname = '/no_such_database'
    nowhere.password ||= 'a-secret'
    const missing = await rehearse(nowhere.href)
    assert.equal(missing.code, 1)
    assert.ok(missing.stderr.includes(`${nowhere.host}/no_such_database`), missing.stderr)
    assert.match(missing.stderr, /DATABASE_URL/)
    assert.ok(!missing.stderr.includes(nowhere.password), 'no password')
  })

  test('refuses --insert where the demo writes its own rows', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-none-'))
    t.after(() => rm(folder, { recursive: true }))
    const { code, stderr } = await tidemark(['rehearse', '--insert', 'INSERT INTO a DEFAULT VALUES'], {
      cwd: folder,
    })
    assert.equal(code, 64)
    assert.match(stderr, /^tidemark: --insert is for a config of your own/)
  })

  test('names a flag that it cannot read', async (t) => {
    const folder = await appFolder(t)
    for (const [flag, value] of [
      ['--deploys', '0'],
      ['--rate', 'fast'],
      ['--overlap', '-1'],
      ['--seed', '1.5'],
      ['--setup', 'nowhere.sql'],
      ['--setup', '.'],
    ] as const) {
      const { code, stderr } = await tidemark(['rehearse', flag, value], { cwd: folder })
      assert.equal(code, 64, flag)
      assert.ok(stderr.includes(flag), stderr)
    }
    const help = await tidemark(['rehearse', '--help'], { cwd: folder })
    assert.ok(help.stdout.includes('--insert') && !help.stdout.includes('[]'), help.stdout)
    const bad = await tidemark(['rehearse', '--config', 'nowhere.mjs'], { cwd: folder })
    assert.equal(bad.code, 78)
  })
})
