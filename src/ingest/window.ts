/**
 * The window is what a pass reads again: everything from the edge on. While somebody's long transaction holds the edge it
 * grows, and most of it was read by the pass before. What that pass has seen is known without a look into the inbox, by the
 * transaction that wrote each row (`xmin`) and the snapshot that the pass began with.
 *
 * *Why nothing is lost.* A begin notes its snapshot. Every page of its pass has a later one, since it names the pass that the
 * begin made. So a transaction that had ended by the begin is visible to every page, and together the pages read each key
 * from the pass's start on exactly once: when the last one is through, every row of such a transaction from there on is in
 * the inbox (or was below what is forgotten, where nobody takes it in). Only then, in the last page's own statement, under
 * holder, term and pass, the snapshot becomes the window's. A later page leaves out rows from that start on whose writer had
 * ended by that snapshot. It must not mistake one that had not:
 *
 * - A list of running transactions (a snapshot) has no sub-transactions. Theirs are later than their transaction's, so of
 *   those in the list the first that has ended since is the bound, and nothing from there on is left out. What runs still
 *   needs no bound: nothing of it is visible. (With the snapshot's `xmin` as the bound, one long transaction that has
 *   written would make every later row look new, for as long as it runs.)
 * - A prepared transaction runs until it is settled, and stands in the list. One of another database does, too.
 * - A row that is updated has another writer, and is looked at again. One whose time or id changed is so, too.
 * - The start is kept beside the snapshot: after a step of the clock, or with an edge moved back, rows before it are new.
 *
 * *When it is forgotten.* A reset drops the poller's candidate, and with it `window_known`; so do older releases, which know
 * nothing of this. A watermark row made again has no window. After a restart, a recovery or a copy of the data (another start
 * time, see begin) xids may mean something else: what was seen is forgotten with the candidate. A condition that has changed, or
 * another table under this name, has another `window_source`, which has the start time, too; a row of another table in its place has another `tableoid`.
 * Xids are circular: the snapshot is not used when 2^30 have been drawn since.
 *
 * *Where it is not used.* Views have no xmin, and foreign tables none of ours. A partition that is attached brings rows
 * in without writing them, so partitioned tables are not told by age (and of a table with children, only its own rows are). A
 * condition can become true without a write to its row, as with now() or a sub-select: unless it only compares columns with
 * constants, rows are looked at as before.
 *
 * *What no longer heals by itself:* a message that is deleted from the inbox by hand is not taken in again by the next pass. The
 * sweep finds it when the edge has gone by, as it does below the edge; a reset takes in everything from its start on.
 */
import { createHash } from 'node:crypto'
import type { SourceColumn, SourceRelation } from '../tables/source.ts'
import type { SourceWindow } from '../tables/watermark.ts'

/** Null: nothing may be told from the age of its rows. */
export function windowOf(relation: SourceRelation, where: string | null): SourceWindow | null {
  if (!relation.has_xmin || (where !== null && !isFixed(where, relation.columns))) return null
  const condition = createHash('sha256').update(where ?? '')
  return { table: relation.qualified, condition: condition.digest('hex').slice(0, DIGITS) }
}

/** Enough to tell two conditions of one poller from each other. */
const DIGITS = 16

/** Types whose comparison with a constant depends on nothing else; a constant of time can be 'now'. */
const FIXED_TYPES: ReadonlySet<string> = new Set([
  'smallint',
  'integer',
  'bigint',
  'boolean',
  'uuid',
  'text',
  'character varying',
])

const WORDS: ReadonlySet<string> = new Set(['and', 'or', 'not', 'in', 'is', 'null', 'true', 'false'])

/** A word or quoted name and what follows it; a constant; an operator. */
const TOKENS = /("[^"]+"|[a-z_][a-z0-9_]*)(\s*[('])?|'[^'\\]*'|\d+|<>|!=|<=|>=|[=<>(),]|\s+/giy

/**
 * Whether the database alone could tell it from the row: comparisons of columns with constants, joined by AND, OR and NOT. What
 * this does not understand counts as not fixed.
 */
function isFixed(where: string, columns: readonly SourceColumn[]): boolean {
  const fixed = new Set(columns.filter(({ type }) => FIXED_TYPES.has(type)).map(({ name }) => name))
  let end = 0
  for (const token of where.matchAll(TOKENS)) {
    end = token.index + token[0].length
    const [, word, follows] = token
    if (word === undefined) continue
    const isQuoted = word.startsWith('"')
    const name = isQuoted ? word.slice(1, -1) : word.toLowerCase()
    if (!isQuoted && WORDS.has(name)) {
      // NOT ( is a word and a bracket; the text after TRUE would be another constant's.
      if (follows?.endsWith("'") === true) return false
    } else if (!fixed.has(name) || follows !== undefined) return false
  }
  return end === where.length
}

/** SQL: whether the pass that the window's snapshot began has seen this row. `raw`: its time as the column has it. */
export function seenSql(raw: string, bound: (timestamptz: string) => string): string {
  return `coalesce(tidemark_source.tableoid = (SELECT seen.source FROM seen) AND ${raw} >= ${bound('(SELECT seen.since FROM seen)')}
                     AND age(tidemark_source.xmin) > (SELECT seen.age FROM seen), false)`
}
