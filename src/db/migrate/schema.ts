import type { Queryable } from '../pool.ts'
import { CODE_SCHEMA_VERSION, SCHEMA_OBJECTS } from './files.ts'
import { sql } from './statements.ts'

/** What the database says about which releases it serves. */
export interface SchemaStatus {
  /** Newest migration in the database; null where there is no schema of ours. */
  readonly version: number | null
  /** Oldest release, by its schema version, that may still run on it. */
  readonly oldestCode: number | null
  /** Whether this release may run. */
  readonly fits: boolean
  /** Why not, and what to do; or that it fits. */
  readonly reason: string
}

/**
 * Whether this release's code fits the schema: it has everything the code was written for, and still serves code as
 * old as this. `codeVersion` is for tests.
 */
export async function schemaStatus(
  client: Queryable,
  codeVersion = CODE_SCHEMA_VERSION,
): Promise<SchemaStatus> {
  const there = await client.query<{ schema_window: boolean }>(sql.what_is_there)
  const window =
    there.rows[0]?.schema_window === true
      ? (await client.query<{ schema_version: number; oldest_code: number }>(sql.window)).rows[0]
      : undefined
  if (window === undefined) {
    const reason =
      'this database has no complete schema of Tidemark; run `tidemark migrate` (after a loss, with `--repair`)'
    return { version: null, oldestCode: null, fits: false, reason }
  }
  const { schema_version: version, oldest_code: oldestCode } = window
  const [fits, reason] = judge(version, oldestCode, codeVersion)
  return { version, oldestCode, fits, reason }
}

function judge(version: number, oldestCode: number, codeVersion: number): [fits: boolean, reason: string] {
  if (version < codeVersion) {
    return [
      false,
      `the schema is at version ${version} and this release needs ${codeVersion}: run \`tidemark migrate\`, or set RUN_MIGRATIONS=1`,
    ]
  }
  if (oldestCode > codeVersion) {
    return [
      false,
      `the schema is at version ${version} and serves releases from ${oldestCode} on; this one is ${codeVersion}: deploy a newer release`,
    ]
  }
  return [true, `schema version ${version} serves releases from ${oldestCode} on; this one is ${codeVersion}`]
}

/**
 * Tables, views, functions and later columns of this release's schema that are not there, with their schema, in order.
 * `tidemark migrate --repair` makes them again. Of a table that is missing itself, no column is named.
 */
export async function missingObjects(client: Queryable): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(sql.missing, [
    SCHEMA_OBJECTS.relations,
    SCHEMA_OBJECTS.functions,
    SCHEMA_OBJECTS.columns,
  ])
  return rows.map(({ name }) => name)
}
