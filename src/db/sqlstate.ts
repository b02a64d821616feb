/**
 * What an error of the database or of the way to it means, in one stable word for logs, metrics and decisions. The
 * SQLSTATEs that decisions hang on are the named sets; everything else is only for reading.
 */
export type ErrorClass =
  | 'connection'
  | 'pool_exhausted'
  | 'too_many_connections'
  | 'authentication'
  | 'missing_database'
  | 'timeout'
  | 'lock_timeout'
  | 'deadlock'
  | 'serialization'
  | 'permission'
  | 'missing_table'
  | 'missing_column'
  | 'missing_function'
  | 'read_only'
  | 'unique'
  | 'constraint'
  | 'data'
  | 'resources'
  | 'other'

/** serialization_failure, deadlock_detected, lock_not_available: the same statement may succeed when run again. */
export const RETRY_STATES: ReadonlySet<string> = new Set(['40001', '40P01', '55P03'])

/** admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped; class 08 is matched by prefix. */
export const CONNECTION_STATES: ReadonlySet<string> = new Set(['57P01', '57P02', '57P03', '57P04'])

/** undefined_table, undefined_column and invalid_schema_name: an object of ours was dropped, or was never made. */
export const MISSING_STATES: ReadonlySet<string> = new Set(['42P01', '42703', '3F000'])

/** query_canceled, transaction_timeout, idle_in_transaction_session_timeout. */
export const TIMEOUT_STATES: ReadonlySet<string> = new Set(['57014', '25P04', '25P03'])

/** Codes that Node gives a broken or impossible socket. */
export const SOCKET_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'EADDRNOTAVAIL',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT', // the Unix socket's file
])

// node-postgres gives these no code, only a text.
const CONNECTION_TEXT =
  /^(connection terminated|connection ended|client has encountered a connection error|client was closed|cannot use a pool after|the server does not support|timeout expired)/i
const POOL_EXHAUSTED_TEXT = 'timeout exceeded when trying to connect'
/** node-postgres's own limit of a statement, above the server's: only silence or a pause of this process reaches it. */
export const READ_TIMEOUT_TEXT = 'Query read timeout'

const CLASS_OF_STATE: Readonly<Record<string, ErrorClass>> = {
  '40001': 'serialization',
  '40P01': 'deadlock',
  '55P03': 'lock_timeout',
  '42501': 'permission',
  '42P01': 'missing_table',
  '3F000': 'missing_table',
  '42703': 'missing_column',
  '42883': 'missing_function',
  '3D000': 'missing_database',
  '53300': 'too_many_connections',
  '25006': 'read_only',
  '23505': 'unique',
}

const CLASS_OF_PREFIX: Readonly<Record<string, ErrorClass>> = {
  '08': 'connection',
  '22': 'data',
  '23': 'constraint',
  '28': 'authentication',
  '53': 'resources',
}

/** The error and what it wraps, outermost first: `cause` chains, and the list of an AggregateError. */
function* unfold(error: unknown, depth = 0): Generator<Error> {
  // Eight is far above any real chain; the bound is for a cause that points back.
  if (!(error instanceof Error) || depth > 8) return
  yield error
  // Node dials every address of a name and reports the failures together, with an empty message.
  if (error instanceof AggregateError) for (const inner of error.errors) yield* unfold(inner, depth + 1)
  yield* unfold(error.cause, depth + 1)
}

function codeOf(error: Error): string | undefined {
  return 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** The SQLSTATE of an error or of what it wraps; undefined for anything that did not come from the server. */
export function sqlState(error: unknown): string | undefined {
  for (const one of unfold(error)) {
    const code = codeOf(one)
    // Node's own codes (EPIPE) can be five capitals too; a DatabaseError carries a severity.
    if (code !== undefined && 'severity' in one && /^[0-9A-Z]{5}$/.test(code)) return code
  }
  return undefined
}

/** One stable word for what an error means; `other` for everything that is not about the database. */
export function errorClass(error: unknown): ErrorClass {
  const state = sqlState(error)
  if (state !== undefined) {
    if (CONNECTION_STATES.has(state)) return 'connection'
    if (TIMEOUT_STATES.has(state)) return 'timeout'
    return CLASS_OF_STATE[state] ?? CLASS_OF_PREFIX[state.slice(0, 2)] ?? 'other'
  }
  for (const one of unfold(error)) {
    if (one.message === POOL_EXHAUSTED_TEXT) return 'pool_exhausted'
    if (one.message === READ_TIMEOUT_TEXT) return 'timeout'
    if (SOCKET_CODES.has(codeOf(one) ?? '') || CONNECTION_TEXT.test(one.message)) return 'connection'
  }
  return 'other'
}

/** Whether the connection, not the statement, failed: the database went away or refuses for now. */
export function isConnectionError(error: unknown): boolean {
  return errorClass(error) === 'connection'
}

/** Whether the same statement may succeed when simply run again. */
export function isRetryable(error: unknown): boolean {
  return RETRY_STATES.has(sqlState(error) ?? '')
}
