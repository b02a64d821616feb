import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'

const sql = loadStatements('task', ['lock_registry', 'register', 'find'])

/** How a poller finds its rows, as SQL; verify() fills it into its templates. */
export interface SourceColumns {
  readonly id: string
  readonly created_at: string
  readonly where: string
}

export interface TaskRecord {
  readonly name: string
  readonly kind: 'poller' | 'processor' | 'job'
  readonly led: boolean
  readonly intervalSeconds: number | null
  readonly sourceTable: string | null
  readonly sourceColumns: SourceColumns | null
  readonly sources: readonly string[] | null
  /** A processor that delivers: where to, as it may be shown. Default: null. */
  readonly deliversTo?: string | null
  /** Where a new poller begins: ISO 8601 text, or null for the beginning. */
  readonly startFrom: string | null
  readonly configHash: string
  readonly release: string
}

export interface KnownTask {
  /** False: it is new, or its row was lost. */
  readonly registered: boolean
  readonly source_table: string | null
  readonly source_columns: SourceColumns | null
  /** Pollers: rows were taken in by it. */
  readonly has_begun: boolean
}

/** Takes the registry's lock until the end of the transaction that `db` is in. */
export async function lockRegistry(db: Queryable): Promise<void> {
  await db.query(sql.lock_registry)
}

export async function findTask(db: Queryable, name: string): Promise<KnownTask> {
  const [row] = (await db.query<KnownTask & Record<string, unknown>>(sql.find, [name])).rows
  if (row === undefined) throw new Error('find returned no row')
  return row
}

/** Registers a task or renews its record; a known one keeps its number, its pause and its start. */
export async function registerTask(
  db: Queryable,
  task: TaskRecord,
): Promise<{ id: number; paused: boolean }> {
  const { rows } = await db.query<{ id: number; paused: boolean }>(sql.register, [
    task.name,
    task.kind,
    task.led,
    task.intervalSeconds,
    task.sourceTable,
    task.sourceColumns === null ? null : JSON.stringify(task.sourceColumns),
    task.sources,
    task.startFrom,
    task.configHash,
    task.release,
    task.deliversTo ?? null,
  ])
  const [row] = rows
  if (row === undefined) throw new Error('register returned no row')
  return row
}
