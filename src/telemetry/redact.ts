import { cleanError, cleanText } from './errorText.ts'

/** Names whose values never reach a line, whatever the user's own `log.redact` adds. */
const ALWAYS_REDACTED: readonly string[] = [
  'password',
  'passwd',
  'secret',
  'token',
  'authorization',
  'cookie',
  'apikey',
  'databaseurl',
  'connectionstring',
]

/** Deeper than this a value is a structure, not a fact about the line; also the guard against circles. */
const MAX_DEPTH = 6

/** Replaces the values of redacted names, errors and connection strings in the fields that a handler logs. */
export type Redact = (fields: Record<string, unknown>) => Record<string, unknown>

/** `names` are compared without regard to case, `_` and `-`, at every depth. */
export function createRedact(names: readonly string[] = []): Redact {
  const hidden = new Set([...ALWAYS_REDACTED, ...names].map(plain))

  function clean(value: unknown, depth: number): unknown {
    if (typeof value === 'string') return cleanText(value)
    if (typeof value === 'bigint') return value.toString()
    if (typeof value !== 'object' || value === null || value instanceof Date) return value
    if (value instanceof Error) return cleanError(value)
    if (depth >= MAX_DEPTH) return '[too deep]'
    if (Array.isArray(value)) return value.map((item) => clean(item, depth + 1))
    return cleanObject(value, depth + 1)
  }
  function cleanObject(value: object, depth: number): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [
        key,
        hidden.has(plain(key)) ? '[redacted]' : clean(inner, depth),
      ]),
    )
  }
  return (fields) => cleanObject(fields, 0)
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[_-]/g, '')
}
