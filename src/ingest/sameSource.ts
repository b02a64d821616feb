import { SourceChanged } from '../errors.ts'
import type { KnownTask } from '../tables/task.ts'
import { isOther } from './reset.ts'
import type { PreparedSource } from './sourceSql.ts'

/**
 * Is a poller's source the one that its position was made for? What its inbox has under an id is a row of that one, so nothing
 * is read from another source under its name, by a pass or by a replay, before a reset. @throws SourceChanged
 */
export function requireSameSource(name: string, known: KnownTask, source: PreparedSource): void {
  // Which source it had is lost with its row; where it stands in it is not.
  if (!known.has_begun || known.source_table === null || !isOther(known, source)) return
  const before = `${known.source_table} (${known.source_columns?.created_at ?? ''}, ${known.source_columns?.id ?? ''})`
  const now = `${source.table} (${source.columns.created_at}, ${source.columns.id})`
  throw new SourceChanged(name, before, now)
}
