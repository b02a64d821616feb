import type { Client } from 'pg'
import { loadMigrationFiles, migrate as runLibrary } from 'postgres-migrations'
import { MigrationFailed, RepairRefused } from '../../errors.ts'
import { cleanError } from '../../telemetry/errorText.ts'
import { catalogFirst } from '../session.ts'
import {
  CODE_SCHEMA_VERSION,
  CONCURRENT_INDEXES,
  MIGRATIONS_FOLDER,
  runsOutsideTransaction,
} from './files.ts'
import { throughLocks } from './lockWait.ts'
import type { LockWait } from './lockWait.ts'
import { dropInvalidIndexes, runText, setLimits } from './session.ts'
import type { FileLimits } from './session.ts'
import { sql } from './statements.ts'

interface MigrationFile {
  readonly id: number
  readonly name: string
  readonly fileName: string
  readonly hash: string
  readonly sql: string
}

/**
 * Makes the schema and our own table of applied files, then lets postgres-migrations do its work: in order, each file
 * in a transaction, refused when a released file was edited. With `repair` every file is run again first. Both locks
 * must be held. Returns the files that were applied (or run again).
 */
export async function applyFiles(
  client: Client,
  options: { readonly wait: LockWait; readonly repair: boolean },
): Promise<string[]> {
  const { wait } = options
  const files = await readFiles()
  await makeOurTable(client)
  await client.query(sql.enter_schema)
  await setLimits(client, wait.limits)
  await dropInvalidIndexes(client, CONCURRENT_INDEXES)
  const before = new Set(await appliedIds(client))
  const repaired = options.repair ? await runAgain(client, files, wait) : []
  await runNew(client, files, wait)
  await setLimits(client, wait.limits)
  await client.query(sql.leave_schema)
  await catalogFirst(client)
  return options.repair
    ? repaired
    : files.filter(({ id }) => id > 0 && !before.has(id)).map(({ fileName }) => fileName)
}

async function readFiles(): Promise<MigrationFile[]> {
  try {
    return await loadMigrationFiles(MIGRATIONS_FOLDER)
  } catch (error) {
    throw failed(null, error)
  }
}

/**
 * postgres-migrations asks whether *any* schema has a table `migrations` and then reads it unqualified: without one of
 * our own, first on the search path, it would take an application's table of that name for its own.
 */
async function makeOurTable(client: Client): Promise<void> {
  const { rows } = await client.query<{ schema: boolean; migrations: boolean }>(sql.what_is_there)
  if (rows[0]?.schema !== true) await client.query(sql.make_schema)
  if (rows[0]?.migrations !== true) await client.query(sql.make_migrations_table)
}

async function appliedIds(client: Client): Promise<number[]> {
  const { rows } = await client.query<{ id: number }>(sql.applied)
  return rows.map(({ id }) => id)
}

/** Lets the library apply what is not applied yet. */
async function runNew(client: Client, files: readonly MigrationFile[], wait: LockWait): Promise<void> {
  await throughLocks(client, wait, async (limits) => {
    const seen: Seen = { file: null, error: null }
    try {
      await runLibrary({ client: watched(client, files, limits, seen) }, MIGRATIONS_FOLDER)
    } catch (error) {
      // The library keeps only the text of what failed; the error itself was seen on its way through.
      throw failed(seen.file, seen.error ?? error)
    }
  })
}

interface Seen {
  file: string | null
  error: unknown
}

/** The client as the library sees it: each file's text gets its limits, and the first error is kept with its file. */
function watched(client: Client, files: readonly MigrationFile[], limits: FileLimits, seen: Seen): Client {
  const query = async (statement: string | { text: string; values: unknown[] }): Promise<unknown> => {
    const text = typeof statement === 'string' ? statement : statement.text
    const file = files.find((one) => one.sql === text)
    if (file !== undefined) seen.file = file.fileName
    try {
      return await runText(client, text, limits, () => client.query(statement))
    } catch (error) {
      seen.error ??= error
      throw error
    }
  }
  // The library's type asks for a whole Client; its source (5.3.0, with-lock.js, run-migration.js) uses `query` alone.
  return { query } as unknown as Client
}

/** Runs every file again, in order; each is written to be re-runnable, and to leave data alone. */
async function runAgain(client: Client, files: readonly MigrationFile[], wait: LockWait): Promise<string[]> {
  await refuseForeign(client, files)
  for (const file of files) {
    if (file.id === 0) continue
    await throughLocks(client, wait, async (limits) => {
      try {
        await runText(client, file.sql, limits, () => runOne(client, file))
      } catch (error) {
        throw failed(file.fileName, error)
      }
    })
  }
  for (const { id, name, hash } of files) await client.query(sql.record, [id, name, hash])
  return files.filter(({ id }) => id > 0).map(({ fileName }) => fileName)
}

async function runOne(client: Client, file: MigrationFile): Promise<void> {
  if (runsOutsideTransaction(file.sql)) {
    await client.query(file.sql)
    return
  }
  await client.query('BEGIN')
  try {
    await client.query(await withoutIndexesThatAreThere(client, file.sql))
    await client.query('COMMIT')
  } catch (error) {
    // This client is ours alone and is closed at the end; a connection that broke says so in `error`.
    await client.query('ROLLBACK').catch(() => undefined)
    throw error
  }
}

const INDEX = /^CREATE INDEX IF NOT EXISTS (\w+)\s+ON\s+service_ops\.\w+[^;]*;/gm

/**
 * CREATE INDEX IF NOT EXISTS asks for its lock before it looks, and would wait for every handler at work, with everybody
 * else behind it: an index that is there is not asked for.
 */
async function withoutIndexesThatAreThere(client: Client, text: string): Promise<string> {
  const names = [...text.matchAll(INDEX)].map(([, name = '']) => name)
  if (names.length === 0) return text
  const { rows } = await client.query<{ name: string }>(sql.indexes, [names])
  const present = new Set(rows.map(({ name }) => name))
  return text.replaceAll(INDEX, (statement, name: string) => (present.has(name) ? '' : statement))
}

/** Before anything runs: files of a newer release, and files that are not those that were applied. */
async function refuseForeign(client: Client, files: readonly MigrationFile[]): Promise<void> {
  const { rows } = await client.query<{ id: number; hash: string }>(sql.applied)
  const newest = Math.max(0, ...rows.map(({ id }) => id))
  if (newest > CODE_SCHEMA_VERSION) throw new RepairRefused(newest, CODE_SCHEMA_VERSION)
  const [edited] = namesOfEdited(files, rows)
  if (edited !== undefined) {
    throw failed(edited, new Error('the file has changed since it was applied; install the release again'))
  }
}

interface Applied {
  readonly id: number
  readonly hash: string
}

/** Files of this release that are not those that were applied: postgres-migrations would refuse to go on. */
export async function editedFiles(applied: readonly Applied[]): Promise<readonly string[]> {
  return namesOfEdited(await readFiles(), applied)
}

function namesOfEdited(files: readonly MigrationFile[], applied: readonly Applied[]): string[] {
  return files
    .filter(({ id, hash }) => applied.some((row) => row.id === id && row.hash !== hash))
    .map(({ fileName }) => fileName)
}

function failed(file: string | null, error: unknown): MigrationFailed {
  return new MigrationFailed(file, cleanError(error).text, error)
}
