import type { Queryable } from './pool.ts'
import { loadStatements } from './statements.ts'

const sql = loadStatements('relation', ['identities'])

/** Which relation has each of these names; one that was dropped and made again is another than before. */
export async function relationIdentities(
  db: Queryable,
  names: readonly string[],
): Promise<Map<string, string>> {
  const { rows } = await db.query<{ name: string; id: string }>(sql.identities, [names])
  return new Map(rows.map(({ name, id }) => [name, id]))
}
