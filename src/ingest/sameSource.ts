import { SourceChanged } from '../errors.ts'
import type { KnownTask } from '../tables/task.ts'
import { isOther } from './reset.ts'
import type { PreparedSource } from './sourceSql.ts'

/**
 * Is a poller's source the one that its position was made for? What its inbox has under an id is a row of that one, so
 * nothing is read from another source under its name, by a pass, a sweep or a replay, before a reset; and after one,
 * nothing by an instance that still has the former one. @throws SourceChanged
 */
export function requireSameSource(name: string, known: KnownTask, source: PreparedSource): void {
  const changed = known.has_begun ? sourceChange(name, known, source) : undefined
  if (changed !== undefined) throw changed
}

/** The difference as an error, thrown or not; undefined: there is none, or which source it had is lost with its row. */
export function sourceChange(
  name: string,
  registered: Pick<KnownTask, 'source_table' | 'source_columns'>,
  source: PreparedSource,
): SourceChanged | undefined {
  if (registered.source_table === null || !isOther(registered, source)) return undefined
  const { id = '', created_at: createdAt = '' } = registered.source_columns ?? {}
  const now = `${source.table} (${source.columns.created_at}, ${source.columns.id})`
  return new SourceChanged(name, `${registered.source_table} (${createdAt}, ${id})`, now)
}
