import { pause } from '../kit/pause.ts'
import type { Queryable } from './pool.ts'
import { loadStatements } from './statements.ts'

const sql = loadStatements('blocker', ['find', 'is_over'])

/** Who holds what a session waits for, as far as the catalogs tell. */
export interface Blocker {
  /** The table that is locked, or has the row that is; null where it cannot be told. */
  readonly table: string | null
  /** 0: a prepared transaction, which no process runs. */
  readonly pid: number
  readonly application: string | null
  /** Age of the holder's transaction in seconds; null where this role may not see it. */
  readonly ageS: number | null
  /** A session of Tidemark. */
  readonly ours: boolean
  /** Name of the transaction while it lasts; null for a prepared one. */
  readonly transaction: string | null
  /** What ends the holder. */
  readonly howToEnd: string
}

interface Row extends Record<string, unknown> {
  readonly table: string | null
  readonly pid: number
  readonly application: string | null
  readonly age_s: number | null
  readonly ours: boolean
  readonly transaction: string | null
}

const END_PREPARED = `SELECT gid, prepared FROM pg_prepared_xacts, and ROLLBACK PREPARED 'gid'`

/** Whoever the sessions of this application name wait for right now; asked on another connection than theirs. */
export async function findBlocker(db: Queryable, application: string): Promise<Blocker | undefined> {
  const [row] = (await db.query<Row>(sql.find, [application])).rows
  if (row === undefined) return undefined
  const { age_s: ageS, ...rest } = row
  return { ...rest, ageS, howToEnd: row.pid === 0 ? END_PREPARED : `SELECT pg_terminate_backend(${row.pid})` }
}

/** Whether the transaction that was in the way has ended. */
export async function isOver(db: Queryable, transaction: string): Promise<boolean> {
  return (await db.query<{ over: boolean }>(sql.is_over, [transaction])).rows[0]?.over === true
}

/** What a line says of it. */
export function describeBlocker({ table, pid, application, ageS, howToEnd }: Blocker): string {
  const who = pid === 0 ? 'a prepared transaction' : `pid ${pid} (${application ?? 'unknown application'})`
  const age = ageS === null ? '' : `, in a transaction that is open for ${ageS} s`
  return `${table ?? 'a table or row'} is locked by ${who}${age}; to end it: ${howToEnd}`
}

/** The same as fields. */
export function blockerFields(blocker: Blocker): {
  table: string | null
  pid: number
  application: string | null
  age_s: number | null
  how_to_end: string
} {
  const { table, pid, application, ageS, howToEnd } = blocker
  return { table, pid, application, age_s: ageS, how_to_end: howToEnd }
}

export interface BlockerWatch {
  /** Whoever was seen last. */
  readonly seen: Blocker | undefined
  stop(): void
}

/**
 * Looks again and again while something may wait: once it has given up, there is nothing to be seen any more. `onSeen` is
 * told of each look that finds somebody, and for how long it has been the same one.
 */
export function watchBlocker(
  look: () => Promise<Blocker | undefined>,
  everyMs: number,
  onSeen?: (blocker: Blocker, forMs: number) => void,
): BlockerWatch {
  const stopping = new AbortController()
  /** Asked through a function: the compiler does not see that it changes during an await. */
  const stopped = (): boolean => stopping.signal.aborted
  let seen: Blocker | undefined
  let since = 0
  async function watch(): Promise<void> {
    for (;;) {
      await pause(everyMs, stopping.signal)
      if (stopped()) return
      // A look that fails tells nothing; what is waited for has errors of its own.
      const found = await look().catch(() => undefined)
      if (stopped()) return
      if (found === undefined) continue
      if (found.pid !== seen?.pid) since = performance.now()
      seen = found
      onSeen?.(found, performance.now() - since)
    }
  }
  void watch()
  return {
    get seen() {
      return seen
    },
    stop: () => stopping.abort(),
  }
}
