import * as ourErrors from '../errors.ts'
import { MISSING_STATES, sqlState } from '../db/sqlstate.ts'
import { cleanError } from '../telemetry/errorText.ts'

const MAKE_SCHEMA =
  'make the schema with `tidemark migrate`, and what was dropped with `tidemark migrate --repair`'

const OUR_CLASSES = Object.values(ourErrors)

/**
 * What a person at a terminal is told of an error. Ours carry a message that says what to do, shown whole (it may name
 * a folder, never a password); of any other the class and the first line.
 */
export function messageOf(error: unknown): string {
  // `instanceof` says so, though the check is spread over a list.
  if (isOurs(error)) return (error as Error).message
  const { class: className, text } = cleanError(error)
  const line = text === '' ? className : `${className}: ${text}`
  return isOurSchemaMissing(error) ? `${line}; ${MAKE_SCHEMA}` : line
}

/** Whether an error says itself what to do. */
export function isOurs(error: unknown): boolean {
  return OUR_CLASSES.some((ours) => error instanceof ours)
}

function isOurSchemaMissing(error: unknown): boolean {
  return (
    MISSING_STATES.has(sqlState(error) ?? '') &&
    error instanceof Error &&
    /service_ops|pgboss/.test(error.message)
  )
}
