import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { splitStatements } from '../../../src/db/statements.ts'

/*
 * What an instance asks, counted in the server's own log (log_statement = all) of every connection of the instance: BEGIN,
 * COMMIT and LISTEN are statements, too, and a script of several that is sent as one message counts as one. What is in
 * sql/queries is ours, also where it is about pg-boss's tables; what else names pg-boss's schema is pg-boss's; BEGIN, COMMIT
 * and SELECT 1 are ours.
 */

/** With what the server is told to begin the lines of its log, for {@link countStatements}. */
export const LINE_PREFIX = '@@%a@@'

/** pg-boss's daily pass over its queues, and (the same text) its look at the clock, every ten minutes. */
const DAILY = /walkCursor|SET retained_count = \$2|^SELECT round\(date_part\('epoch', pgboss\.job_now/
/** How its scripts begin, all alike. */
const PROLOGUE = /^BEGIN; (?:SET LOCAL [^;]*; )*(?:SELECT pg_advisory_xact_lock[^;]*; )?/
/** What tells one statement from another in the table. */
const HEAD = 90

export type Whose = 'tidemark' | 'pg-boss'

export interface StatementCounts {
  /** Each statement, the most frequent first. */
  readonly lines: readonly { readonly whose: Whose; readonly what: string; readonly count: number }[]
  readonly totals: Readonly<Record<Whose, number>>
  /** Of pg-boss's, those of its daily pass. */
  readonly daily: number
}

/** Counts the statements of instances in a server's log. */
export function countStatements(log: string): StatementCounts {
  const named = namedStatements()
  const lines = new Map<string, { whose: Whose; what: string; count: number }>()
  const totals = { tidemark: 0, 'pg-boss': 0 }
  let daily = 0
  for (const entry of log.split(/^@@/m)) {
    const [, application = '', text = ''] =
      /^(.*?)@@LOG: {2}(?:statement|execute [^:]*): ([\s\S]*)$/.exec(entry) ?? []
    if (!application.startsWith('tidemark:')) continue
    const { whose, what, isDaily } = classify(oneLine(text), named)
    const line = lines.get(what) ?? { whose, what, count: 0 }
    line.count += 1
    lines.set(what, line)
    totals[whose] += 1
    if (isDaily) daily += 1
  }
  return { lines: [...lines.values()].sort((a, b) => b.count - a.count), totals, daily }
}

function classify(
  statement: string,
  named: ReadonlyMap<string, string>,
): { whose: Whose; what: string; isDaily: boolean } {
  const name = named.get(statement)
  if (name !== undefined) return { whose: 'tidemark', what: name, isDaily: false }
  const whose = /pgboss/.test(statement) ? 'pg-boss' : 'tidemark'
  const isDaily = whose === 'pg-boss' && DAILY.test(statement)
  const what = statement.replace(PROLOGUE, '').slice(0, HEAD)
  return { whose, isDaily, what: isDaily ? 'once a day: the pass over each queue' : what }
}

/** By its text, how each of our statements is called. */
function namedStatements(): ReadonlyMap<string, string> {
  const folder = join(import.meta.dirname, '../../../sql/queries')
  const names = new Map<string, string>()
  for (const file of readdirSync(folder))
    for (const [name, text] of splitStatements(readFileSync(join(folder, file), 'utf8'), file))
      if (!text.includes(':"')) names.set(oneLine(text), `${file.replace('.sql', '')}.${name}`)
  return names
}

function oneLine(text: string): string {
  return text
    .replaceAll(/--[^\n]*/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim()
    .replace(/;$/, '')
}
