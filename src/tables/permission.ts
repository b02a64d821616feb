import { splitQualified } from '../db/identifier.ts'
import type { Queryable } from '../db/pool.ts'
import { errorClass } from '../db/sqlstate.ts'
import { loadStatements } from '../db/statements.ts'
import { PermissionMissing, RowsHidden } from '../errors.ts'
import type { HiddenRows, MissingGrant } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'

const sql = loadStatements('permission', ['missing', 'hidden', 'of_source'])

/** Tables that a migration writes and a running instance only reads. pg-boss keeps turns of its upkeep in its `version`. */
const READ_ONLY: readonly string[] = ['migrations', 'schema_window', 'invariant']

const OWN_SCHEMA = 'service_ops'

type Row = MissingGrant & { readonly role: string } & Record<string, unknown>

/** Throws {@link PermissionMissing} when this role lacks a right that a running instance needs on these schemas. */
export async function requireGrants(db: Queryable, schemas: readonly string[]): Promise<void> {
  const missing = await asMissing(db, sql.missing, [schemas, READ_ONLY])
  if (missing !== undefined) throw missing
}

/** Tables of these schemas whose rows row-level security may hide from this role. */
export async function hiddenTables(db: Queryable, schemas: readonly string[]): Promise<HiddenRows[]> {
  return (await db.query<HiddenRows & Record<string, unknown>>(sql.hidden, [schemas])).rows
}

/** Throws {@link RowsHidden} when row-level security may hide rows of these schemas from this role. */
export async function requireAllRows(db: Queryable, schemas: readonly string[]): Promise<void> {
  const hidden = await hiddenTables(db, schemas)
  if (hidden.length > 0) throw new RowsHidden(hidden)
}

/**
 * An error of PostgreSQL's that says "permission denied", as one that names role, object and GRANT; any other error as
 * it is. Works from the catalogs, which need no right.
 */
export async function explainDenied(
  db: Queryable,
  error: unknown,
  schemas: readonly string[],
): Promise<unknown> {
  if (errorClass(error) !== 'permission') return error
  // When the catalogs cannot be asked now, what PostgreSQL said is still better than nothing.
  const missing = await asMissing(db, sql.missing, [schemas, []], error).catch(() => undefined)
  return missing ?? error
}

/** The same for the table or view that a poller reads. */
export async function explainSourceDenied(db: Queryable, error: unknown, table: string): Promise<unknown> {
  if (errorClass(error) !== 'permission') return error
  const parts = splitQualified(table)
  const [schema, name] = parts.length === 2 ? parts : ['public', parts[0]]
  const missing = await asMissing(db, sql.of_source, [schema, name], error).catch(() => undefined)
  // The right is there, so it is lacking below: to what a view reads, or to a function of `where`.
  return missing ?? belowSource(error, table)
}

/** The same for a statement of a pass, which needs rights on the source and on our own tables. */
export async function explainPassDenied(db: Queryable, error: unknown, table: string): Promise<unknown> {
  if (errorClass(error) !== 'permission') return error
  const ours = await asMissing(db, sql.missing, [[OWN_SCHEMA], READ_ONLY], error).catch(() => undefined)
  return ours ?? (await explainSourceDenied(db, error, table))
}

function belowSource(error: unknown, table: string): PermissionMissing {
  const { text } = cleanError(error)
  const grant = `give the owner of ${table} (or this role, for what \`where\` calls) the right that is named`
  return new PermissionMissing('of this connection', [{ object: `what ${table} reads (${text})`, grant }], {
    cause: error,
  })
}

async function asMissing(
  db: Queryable,
  statement: string,
  values: readonly unknown[],
  cause?: unknown,
): Promise<PermissionMissing | undefined> {
  const { rows } = await db.query<Row>(statement, values)
  const [first] = rows
  if (first === undefined) return undefined
  return new PermissionMissing(
    first.role,
    rows.map(({ object, grant }) => ({ object, grant })),
    { cause },
  )
}
