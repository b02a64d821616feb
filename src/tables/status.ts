import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import type { StatusFacts } from './status/facts.ts'
import { verdictOf } from './verdict.ts'
import type { Verdict } from './verdict.ts'

export type * from './status/facts.ts'

const sql = loadStatements('status', ['document'])

/** The document of `tidemark status --json` and of `/status`. */
export interface StatusDocument extends StatusFacts {
  /** What all the rest comes to. */
  readonly verdict: Verdict
}

/** Reads the whole status in one statement. */
export async function readStatus(db: Queryable): Promise<StatusDocument> {
  const { rows } = await db.query<{ document: StatusFacts }>(sql.document)
  const [row] = rows
  if (row === undefined) throw new Error('a SELECT without FROM gave no row')
  const { at, ...facts } = row.document
  return { at, verdict: verdictOf(row.document), ...facts }
}
