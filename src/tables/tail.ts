import { createHash } from 'node:crypto'
import { runPrepared } from '../db/pool.ts'
import type { MayPrepare } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import { takeInSql } from './takeIn.ts'
import type { TakeInSql } from './takeIn.ts'
import type { PassFence } from './watermark.ts'

const { tail: TAIL } = loadStatements('tail', ['tail'])

/**
 * More than one announcement brings, or than the overlap with what was read before has; the rest is left to the pass that
 * follows. It stands in the text: a prepared statement is planned for any limit, and would read the whole source for some.
 */
const MOST_ROWS = 500

/** The statement of one source, and the name that it is prepared by. */
export interface TailSql {
  readonly name: string
  readonly text: string
}

export function tailStatement(parts: TakeInSql): TailSql {
  const take_in = takeInSql(parts, 'dated', String(MOST_ROWS))
  const text = fillIdentifiers(TAIL, { take_in, id_type: parts.id_type })
  return { name: `tidemark_tail_${createHash('sha256').update(text).digest('hex').slice(0, 16)}`, text }
}

export interface TailRead {
  readonly rows: number
  readonly inserted: number
  readonly late: number
  /** It brought as many new rows as one may: more may be waiting. */
  readonly full: boolean
}

/** Reads the tail into the inbox. Undefined: there is nothing new in it, or the reader is fenced out. */
export async function readTail(
  db: MayPrepare,
  { name, text }: TailSql,
  { poller, holder, term, pass }: PassFence,
  maxAttempts: number,
): Promise<TailRead | undefined> {
  const values = [poller, holder, maxAttempts, null, null, term, pass]
  type Row = Record<'n' | 'inserted' | 'late', string>
  const { rows } = await runPrepared<Row>(db, name, text, values)
  const [row] = rows
  if (row === undefined) return undefined
  const inserted = Number(row.inserted)
  return { rows: Number(row.n), inserted, late: Number(row.late), full: inserted === MOST_ROWS }
}
