import { spawn } from 'node:child_process'
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Pool } from 'pg'
import type { Outcome } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { wantedMajor } from '../support/postgres.ts'
import { atEnd, type Scope } from '../support/scope.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** An app that is deployed by the scripts, on a real database, with a Fly.io of its own. */
export interface Shop {
  readonly pool: Pool
  readonly databaseUrl: string
  /** Its folder: config, fly.toml, what the steps note. */
  readonly folder: string
  /** Runs `scripts/deploy.sh` or `scripts/rollback.sh` there. */
  script(
    name: 'deploy' | 'rollback',
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<Outcome>
  /** Ends what the last deploy left running, as nobody should. */
  kill(): void
}

const CONFIG = `
  export default {
    pollers: { orders: { source: { table: 'orders', id: 'id', createdAt: 'at' }, every: '1s' } },
    processors: {
      packing: {
        from: 'orders', contract: 'transactional',
        async handle(message, { tx }) { await tx.query('INSERT INTO parcels VALUES ($1)', [message.messageId]) },
      },
    },
  }`

/** What doctor says of every server that is made for tests, and of one that nobody else uses. */
const OF_TESTS = `durability connections dead_clients sight tokens${wantedMajor() < 15 ? ' server_version' : ''}`

export interface ShopOptions {
  /** The checkout whose scripts and program are used. Default: this one. */
  readonly root?: string
  /** The scripts are copied into the app, where the package is installed. */
  readonly copied?: true
}

export async function openShop(t: Scope, { root = ROOT, copied }: ShopOptions = {}): Promise<Shop> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-shop-'))
  const database = await createDatabase(t, { migrated: false })
  const pool = database.pool()
  await pool.query(`
    CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON orders (at, id);
    CREATE TABLE parcels (id text PRIMARY KEY)`)
  writeFileSync(join(folder, 'tidemark.config.mjs'), CONFIG)
  copyFileSync(join(ROOT, 'fly.toml'), join(folder, 'fly.toml'))
  const programs = join(folder, 'bin')
  mkdirSync(programs)
  writeFileSync(
    join(programs, 'flyctl'),
    `#!/bin/sh\nexec '${process.execPath}' '${join(import.meta.dirname, 'flyctl.ts')}' "$@"\n`,
  )
  chmodSync(join(programs, 'flyctl'), 0o755)
  if (copied === true) {
    for (const name of ['deploy.sh', 'rollback.sh', 'deploy'])
      cpSync(join(root, 'scripts', name), join(folder, 'scripts', name), { recursive: true })
    mkdirSync(join(folder, 'node_modules/.bin'), { recursive: true })
    symlinkSync(root, join(folder, 'node_modules/tidemark'))
    symlinkSync('../tidemark/bin/tidemark.js', join(folder, 'node_modules/.bin/tidemark'))
  }
  const fly = { FAKE_FLY: folder, FAKE_FLY_BIN: join(root, 'bin/tidemark.js') }
  const kill = (): void => {
    const file = join(folder, 'world.json')
    if (!existsSync(file)) return
    // Written by flyctl.ts.
    const { machines } = JSON.parse(readFileSync(file, 'utf8')) as { machines: { pid: number }[] }
    for (const { pid } of machines) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended already.
      }
    }
  }
  // Before the database is dropped, which fails while somebody is connected.
  t.after(kill)
  atEnd(t, () => rmSync(folder, { recursive: true, force: true }))
  return {
    pool,
    databaseUrl: database.url,
    folder,
    kill,
    script: (name, args, env = {}) =>
      run(join(copied === true ? folder : root, `scripts/${name}.sh`), args, {
        cwd: folder,
        env: {
          PATH: `${programs}:${process.env['PATH'] ?? ''}`,
          HOME: folder,
          DATABASE_URL: database.url,
          DOCTOR_ACCEPT: OF_TESTS,
          WAIT_SECONDS: '60',
          ...fly,
          ...env,
        },
      }),
  }
}

function run(
  script: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env: Readonly<Record<string, string>> },
): Promise<Outcome> {
  const child = spawn('bash', [script, ...args], { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code) => done({ code, stdout, stderr }))
  })
}
