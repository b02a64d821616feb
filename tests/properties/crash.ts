/** Schedules that need a server of their own: one crashes it, one fills its table of predicate locks. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { migrate } from '../../src/db/migrate.ts'
import { wantedMajor } from '../support/postgres.ts'
import { useServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { Stage } from './named.ts'
import type { Strategy } from './strategy.ts'
import { World } from './world.ts'

/**
 * Ten entries for each possible backend is what SERIALIZABLE has before it summarises; the fewer backends, the sooner.
 */
const SETTINGS = {
  max_connections: '16',
  max_prepared_transactions: '2',
  max_wal_senders: '0',
  max_worker_processes: '1',
  // Before 18 as many backends are possible as autovacuum_max_workers says.
  ...(wantedMajor() >= 18 ? { autovacuum_worker_slots: '1' } : { autovacuum_max_workers: '1' }),
}

export interface OwnServer {
  readonly url: string
  end(): Promise<void>
}

/** A migrated server for one file of tests, which may crash it. */
export async function ownServer(): Promise<OwnServer> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-crash-'))
  const server = await useServer(folder, { durable: false, settings: SETTINGS })
  await migrate({
    url: server.url,
    log: { event: () => undefined },
    lockWaitMs: 30_000,
    statementTimeoutMs: 60_000,
  })
  const end = async (): Promise<void> => {
    await server.leave()
    rmSync(folder, { recursive: true, force: true })
  }
  return { url: server.url, end }
}

/**
 * kill -9 of any backend makes the server throw all others out and recover. It is the same server by its start time,
 * but prepared transactions have new names: the candidate's list knows them no more.
 */
export async function backendKilledWhilePrepared(world: World, strategy: Strategy = {}): Promise<World> {
  const stage = await Stage.set(world, strategy)
  const gid = `${world.name} crash`
  const writer = await stage.session('writer')
  let fence = await stage.pass(await stage.lead())
  for (const text of ['BEGIN', stage.insert(), `PREPARE TRANSACTION '${gid}'`]) {
    writer.send(text)
    await stage.settle()
  }
  fence = await stage.pass(fence)
  fence = await stage.pass(fence)
  const booted = await bootTime(world.admin)

  process.kill(writer.pid, 'SIGKILL')
  // A connection made before the server has noticed would be thrown out with all others.
  const alive = (): Promise<boolean> =>
    world.admin.query('SELECT').then(
      () => true,
      () => false,
    )
  await until('the server to throw everybody out', async () => !(await alive()))
  const after = await until('the server to recover', () => World.open(world.url).catch(() => undefined))
  await world.close().catch(() => undefined)
  if ((await bootTime(after.admin)) !== booted)
    throw new Error('the server has restarted: this shows nothing')

  try {
    const second = await Stage.resume(after, strategy)
    for (let i = 0; i < 3; i += 1) fence = await second.pass(fence)
    await after.admin.query(`COMMIT PREPARED '${gid}'`)
    await second.look()
    await second.everythingIsTakenIn(fence)
  } catch (error) {
    await after.rollBackPrepared()
    await after.close()
    throw error
  }
  return after
}

/**
 * A transaction of another database, which can never write here, keeps what committed SERIALIZABLE transactions read
 * from being forgotten. When there are many they are summarised, and pg_locks shows them without a pid, as it shows
 * prepared ones. They are over; the edge goes on. Throws Violation when it has not by the limit.
 */
export async function serializableLeftOvers(
  world: World,
  strategy: Strategy = {},
  limitMs = 60_000,
): Promise<void> {
  const stage = await Stage.set(world, strategy)
  const elsewhere = new URL(world.url)
  elsewhere.pathname = '/postgres'
  const holder = new Client({ connectionString: elsewhere.href })
  await holder.connect()
  try {
    await holder.query('BEGIN ISOLATION LEVEL SERIALIZABLE; CREATE TEMP TABLE t (); SELECT FROM t')
    const one = `BEGIN ISOLATION LEVEL SERIALIZABLE; ${stage.insert()}; SELECT count(*) FROM ${world.table('bigint')}; COMMIT`
    await until('committed transactions to be summarised', async () => {
      for (let i = 0; i < 50; i += 1) await world.admin.query(one)
      const { rows } = await world.admin.query(
        "SELECT FROM pg_locks WHERE pid IS NULL AND mode = 'SIReadLock'",
      )
      return rows.length > 0
    })
    const fence = await stage.pass(await stage.lead())
    await stage.everythingIsTakenIn(fence, limitMs)
  } finally {
    await holder.end()
  }
}

async function bootTime(client: Client): Promise<string | undefined> {
  const { rows } = await client.query<{ at: string }>('SELECT pg_postmaster_start_time()::text AS at')
  return rows[0]?.at
}
