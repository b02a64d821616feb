import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { freePort } from '../support/port.ts'
import { until } from '../support/until.ts'

/*
 * Secrets are planted wherever one can be given, and looked for in everything that comes out: the log at its lowest level, what
 * HTTP answers, what verbs print, errors of starts that fail, the lists of processes of the machine and of PostgreSQL, and the
 * tables that operators read.
 */
const PLANTED = {
  'the password of the database': 'planted-database-3b1f',
  ADMIN_TOKEN: 'planted-admin-token-77aa',
  INTAKE_TOKEN: 'planted-intake-token-91c2',
  'the secret of an intake': Buffer.from('planted-intake-signature').toString('base64'),
  'the secret of a delivery': Buffer.from('planted-delivery-signature').toString('base64'),
  'the user of a target': 'planted-user-5d5d',
  'the password of a target': 'planted-target-0e0e',
  'the key in the query of a target': 'planted-key-6f6f',
  'the path of a target': 'planted-path-2c2c',
  'a wrong token of a guest': 'planted-guess-8e8e',
} as const

const CONFIG = (port: number): string => `
  export default {
    intakes: { orders: {}, signed: { signature: { secret: 'whsec_${PLANTED['the secret of an intake']}' } } },
    processors: { hook: { from: ['orders', 'signed'], maxAttempts: 3, backoff: { base: 10, max: 20 }, deliver: {
      url: 'http://${PLANTED['the user of a target']}:${PLANTED['the password of a target']}@127.0.0.1:${port}/${PLANTED['the path of a target']}?key=${PLANTED['the key in the query of a target']}',
      secret: 'whsec_${PLANTED['the secret of a delivery']}' } } },
  }`

/** The forms in which a text may come out. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret)
  return [
    secret,
    encodeURIComponent(secret),
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('hex'),
  ]
}

function assertNothingIn(where: string, text: string): void {
  for (const [what, secret] of Object.entries(PLANTED))
    for (const form of formsOf(secret))
      assert.ok(!text.includes(form), `${what} is in ${where}: …${around(text, form)}…`)
}

function around(text: string, form: string): string {
  const at = text.indexOf(form)
  return text.slice(Math.max(0, at - 80), at + form.length + 20)
}

test('no secret comes out of a running instance, whoever asks', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  const role = `planted_${database.name}`
  await pool.query(
    `CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD '${PLANTED['the password of the database']}'`,
  )
  t.after(async () => {
    await pool.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })
  const url = new URL(database.url)
  url.username = role
  url.password = PLANTED['the password of the database']
  const env = { ADMIN_TOKEN: PLANTED.ADMIN_TOKEN, INTAKE_TOKEN: PLANTED.INTAKE_TOKEN, LOG_LEVEL: 'debug' }
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-secrets-'))
  t.after(() => rm(folder, { recursive: true }))
  const file = join(folder, 'tidemark.config.mjs')
  // Nobody listens there: each delivery fails, and is told of in every way there is.
  const target = await freePort()
  await writeFile(file, CONFIG(target))
  const instance = await startInstance(t, { databaseUrl: url.href, config: CONFIG(target), env })
  await instance.said('ready')

  const as = (token: string) => ({ authorization: `Bearer ${token}` })
  const send = (token: string) =>
    fetch(`${instance.address}/inbox/orders`, {
      method: 'POST',
      headers: { ...as(token), 'content-type': 'application/json' },
      body: '{"message_id":"a","payload":{"n":1}}',
    })
  assert.equal((await send(PLANTED.INTAKE_TOKEN)).status, 202)
  const answers: Response[] = [await send(PLANTED['a wrong token of a guest'])]
  await until('the target to be found away', async () => {
    const { rowCount } = await pool.query(
      `SELECT FROM service_ops.integration_inbox WHERE last_error IS NOT NULL`,
    )
    return rowCount === 1
  })
  await instance.said('circuit_opened')

  await t.test('by HTTP, with the token and without', async () => {
    const form = new URLSearchParams({ name: 'Eve', token: PLANTED['a wrong token of a guest'] })
    answers.push(await fetch(`${instance.address}/login`, { method: 'POST', body: form }))
    const paths = ['/live', '/ready', '/health', '/metrics', '/status', '/nothing', '/login']
    const pages = [
      '/',
      '/messages',
      '/messages/1',
      '/runs',
      '/jobs',
      '/history',
      '/verify',
      '/actions',
      '/tasks/hook',
    ]
    for (const path of [...paths, ...pages])
      for (const headers of [
        {},
        as(PLANTED['a wrong token of a guest']),
        { ...as(PLANTED.ADMIN_TOKEN), accept: 'text/html' },
        as(PLANTED.ADMIN_TOKEN),
      ])
        answers.push(await fetch(`${instance.address}${path}`, { headers, redirect: 'manual' }))
    for (const response of answers) {
      const head = JSON.stringify([...response.headers])
      assertNothingIn(`${response.status} of ${response.url}`, head + (await response.text()))
    }
    assert.ok(answers.filter(({ status }) => status === 200).length > 30)
  })

  await t.test('by the lists of processes', async () => {
    const shown = `/proc/${instance.pid}/cmdline`
    if (existsSync(shown)) assertNothingIn('its command line', readFileSync(shown, 'utf8'))
    const { rows } = await pool.query<{ line: string }>(
      'SELECT to_json(a)::text AS line FROM pg_stat_activity a WHERE datname = current_database() AND pid <> pg_backend_pid()',
    )
    assert.ok(rows.length > 3)
    assertNothingIn('pg_stat_activity', rows.map(({ line }) => line).join('\n'))
  })

  await t.test('by the tables', async () => {
    const { rows } = await pool.query<{ name: string }>(
      `SELECT oid::regclass::text AS name FROM pg_class WHERE relnamespace IN ('service_ops'::regnamespace, 'pgboss'::regnamespace) AND relkind IN ('r', 'v')`,
    )
    assert.ok(rows.length > 30)
    for (const { name } of rows) {
      const found = await pool.query<{ line: string }>(`SELECT to_json(t)::text AS line FROM ${name} t`)
      assertNothingIn(name, found.rows.map(({ line }) => line).join('\n'))
    }
  })

  await t.test('by verbs', async () => {
    const verbs = [
      ['doctor', '--json'],
      ['status', '--json'],
      ['inbox', 'show', '--status', 'NEW,PROCESSING,FAILED,DEAD', '--payload'],
    ]
    const outcomes = await Promise.all(
      verbs.map((verb) =>
        tidemark([...verb, '--config', file], {
          env: { ...env, DATABASE_URL: url.href, PORT: '0' },
          cwd: folder,
        }),
      ),
    )
    for (const [at, { stdout, stderr }] of outcomes.entries()) {
      assert.ok(stdout.length > 100, `${verbs[at]?.join(' ')}: ${stderr}`)
      assertNothingIn(`tidemark ${verbs[at]?.join(' ')}`, stdout + stderr)
    }
  })

  instance.kill('SIGTERM')
  await instance.exited
  assert.ok(instance.lines.some(({ level }) => level === 'debug'))
  assertNothingIn(
    'its log',
    [...instance.lines.map((line) => JSON.stringify(line)), ...instance.other].join('\n'),
  )
})

test('no secret comes out of a start that fails', async (t) => {
  const password = PLANTED['the password of the database']
  const away = `postgres://app:${password}@127.0.0.1:${await freePort()}/shop`
  const good = { ADMIN_TOKEN: PLANTED.ADMIN_TOKEN, DATABASE_URL: away, DATABASE_CONNECT_ATTEMPTS: '1' }
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-secrets-'))
  t.after(() => rm(folder, { recursive: true }))
  const write = async (name: string, text: string): Promise<string[]> => {
    await writeFile(join(folder, name), text)
    return ['start', '--config', name]
  }
  const right = CONFIG(1)
  const cases: [what: string, argv: string[], env: Record<string, string>, code: number][] = [
    ['a database that is away', await write('right.mjs', right), good, 1],
    ['a verb without a database', ['status', '--json'], good, 1],
    ['doctor without a database', ['doctor', '--json', '--config', 'right.mjs'], good, 1],
    [
      'settings that are wrong',
      await write('right.mjs', right),
      {
        DATABASE_URL: `mysql://app:${password}@db/shop`,
        DIRECT_DATABASE_URL: `postgres://app:${password}@`,
        ADMIN_TOKEN: PLANTED.ADMIN_TOKEN.slice(0, 15),
        INTAKE_TOKEN: PLANTED.INTAKE_TOKEN,
        CORS_ORIGINS: '*',
        PORT: 'x',
      },
      78,
    ],
    [
      'a config whose secrets are wrong',
      await write('wrong.mjs', right.replaceAll('whsec_', 'whsec-').replace("url: 'http:", "url: 'ftp:")),
      good,
      78,
    ],
    ['a config that throws', await write('throws.mjs', `throw new Error('cannot reach ${away}')`), good, 78],
  ]
  await Promise.all(
    cases.map(async ([what, argv, env, code]) => {
      const outcome = await tidemark(argv, { cwd: folder, env: { PORT: '0', HOST: '127.0.0.1', ...env } })
      const text = outcome.stdout + outcome.stderr
      assert.equal(outcome.code, code, `${what}: ${text}`)
      assertNothingIn(what, text)
      assert.ok(!text.includes(PLANTED.ADMIN_TOKEN.slice(0, 15)), `${what}: ${text}`)
    }),
  )
})

test('a secret that does come out is found, in each of its forms', () => {
  for (const secret of Object.values(PLANTED))
    for (const form of formsOf(secret))
      assert.throws(() => assertNothingIn('a text', `before ${form}, after`))
})
