/**
 * The tail of a source, read as soon as an insert is announced: one statement that takes in what lies behind the greatest
 * cursor (sql/queries/tail.sql). It is refused as a page is and proves nothing, and a pass follows it. So whatever becomes of
 * it is left to that pass: what it could not see, a row that cannot be read, a refusal, an error of the database. It is read
 * between two pages of a pass, too; that pass may have been where the rows are, so another one follows.
 *
 * Its rows are counted with the next pass that is completed, in the ledger as in the log.
 */
import type { MayPrepare } from '../db/pool.ts'
import { readTail } from '../tables/tail.ts'
import type { PassFence } from '../tables/watermark.ts'
import type { PassResult } from './pass.ts'
import type { PreparedSource } from './sourceSql.ts'

export interface TailsOptions {
  readonly db: MayPrepare
  readonly source: PreparedSource
  readonly maxAttempts: number
  onInserted(rows: number, late: number): void
}

const NONE = { rowsRead: 0, rowsInserted: 0, lateRows: 0 }

/** The tails that one leader reads. */
export class Tails {
  readonly #options: TailsOptions
  #read = NONE

  constructor(options: TailsOptions) {
    this.#options = options
  }

  /** Resolves to the rows that came in, and whether it has brought as many as one may; never rejects. */
  async read(fence: PassFence): Promise<{ readonly inserted: number; readonly full: boolean }> {
    const { db, source, maxAttempts } = this.#options
    const tail = await readTail(db, source.tail, fence, maxAttempts).catch(() => undefined)
    if (tail === undefined) return { inserted: 0, full: false }
    this.#options.onInserted(tail.inserted, tail.late)
    const { rowsRead, rowsInserted, lateRows } = this.#read
    this.#read = {
      rowsRead: rowsRead + tail.rows,
      rowsInserted: rowsInserted + tail.inserted,
      lateRows: lateRows + tail.late,
    }
    return { inserted: tail.inserted, full: tail.full }
  }

  /** A pass with what was read before it. */
  countedWith(pass: PassResult): PassResult {
    const { rowsRead, rowsInserted, lateRows } = this.#read
    this.#read = NONE
    return {
      ...pass,
      rowsRead: pass.rowsRead + rowsRead,
      rowsInserted: pass.rowsInserted + rowsInserted,
      lateRows: pass.lateRows + lateRows,
    }
  }
}
