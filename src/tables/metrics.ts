import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import { LOOK_WITHOUT_MARK } from './lowWater.ts'

const sql = loadStatements('metrics', ['numbers'])

/** What the database knows of the whole system. */
export interface SystemNumbers {
  /**
   * Every status that is not finished, of every source that a living instance has. What is NEW of a source that nobody works
   * on may be more than what was looked at: {@link LOOK_WITHOUT_MARK}.
   */
  readonly depths: readonly { readonly source: string; readonly status: string; readonly messages: number }[]
  readonly sources: readonly {
    readonly source: string
    /** Age of the oldest message that is neither finished nor DEAD; 0: there is none. */
    readonly oldest_s: number
    /** Taken in between one and two hours ago, and not finished. */
    readonly overdue: number
    readonly stuck: number
  }[]
  /** Messages in work by key, of sources that have slots; those of the less busy keys together as `other`. */
  readonly slots: readonly {
    readonly source: string
    readonly group_key: string
    readonly messages: number
  }[]
  readonly pollers: readonly {
    readonly poller: string
    /** Null: it has never completed a pass. */
    readonly lag_s: number | null
    /** Null: it has proven nothing yet. */
    readonly edge_lag_s: number | null
  }[]
  readonly instances: readonly {
    readonly state: string
    readonly release: string
    readonly instances: number
  }[]
}

export interface NumbersAsked {
  /** By source, after how many seconds in work a message is stuck. */
  readonly stuckAfterS: ReadonlyMap<string, number>
  /** The same for every other source. */
  readonly otherStuckAfterS: number
  /** Group keys that are named, the busiest first. */
  readonly keys: number
  /** Messages that are looked at for a source that nobody works on. Default: {@link LOOK_WITHOUT_MARK}. */
  readonly look?: number
}

/** Reads all of them in one statement. */
export async function readNumbers(
  db: Queryable,
  { stuckAfterS, otherStuckAfterS, keys, look = LOOK_WITHOUT_MARK }: NumbersAsked,
): Promise<SystemNumbers> {
  const limits = JSON.stringify(Object.fromEntries(stuckAfterS))
  const { rows } = await db.query<{ numbers: SystemNumbers }>(sql.numbers, [
    limits,
    otherStuckAfterS,
    keys,
    look,
  ])
  const [row] = rows
  if (row === undefined) throw new Error('a SELECT without FROM gave no row')
  return row.numbers
}
