import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'

const sql = loadStatements('low_water', ['low_water', 'look_back', 'raise_low_water', 'begin_low_water'])

/**
 * Messages that are looked at to tell what is open of a source whose mark nobody moves. Some 20 ms, and more than any alert
 * asks for.
 */
export const LOOK_WITHOUT_MARK = 20_000

/** What one look back shows. Numbers are bigint as text; see process/lowWater.ts for what follows from them. */
export interface LookBack {
  readonly first_open: string | null
  readonly first_new: string | null
  readonly head: string
  /** See {@link KeptMark.boot}. */
  readonly boot: string
  /** Transactions that may have drawn a number and not committed it yet. */
  readonly writers: readonly string[]
  readonly next_due_ms: string | null
  /** A message waits that was in work in a process that died. */
  readonly suspects: boolean
}

export interface KeptMark {
  readonly low: string
  /** Names one life of one server's memory, from its start or its recovery to its crash: what was committed stays. */
  readonly boot: string
}

/** The proven mark of these sources, the lowest of them. Takes marks back that lie above every message. */
export async function readLowWater(db: Queryable, sources: readonly string[]): Promise<KeptMark> {
  const [row] = (await db.query<KeptMark & Record<string, unknown>>(sql.low_water, [sources])).rows
  if (row === undefined) throw new Error('low_water returned no row')
  return row
}

export async function lookBack(
  db: Queryable,
  sources: readonly string[],
  settled: string,
): Promise<LookBack> {
  const { rows } = await db.query<LookBack & Record<string, unknown>>(sql.look_back, [sources, settled])
  const [row] = rows
  if (row === undefined) throw new Error('look_back returned no row')
  return row
}

/** Keeps a mark, if the server still has the boot that it was proven on. */
export async function raiseLowWater(
  db: Queryable,
  sources: readonly string[],
  settled: string,
  boot: string,
): Promise<void> {
  await db.query(sql.raise_low_water, [sources, settled, boot])
}

/** Begins the mark of a source that nobody has polled before at the newest message; call before anybody can poll it. */
export async function beginLowWater(db: Queryable, source: string): Promise<void> {
  await db.query(sql.begin_low_water, [source])
}
