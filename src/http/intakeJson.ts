/**
 * JSON as PostgreSQL can keep it.
 *
 * JSON of a sender's making can be more than `jsonb` takes: nested until a stack is full, \u0000, halves of surrogate pairs,
 * numbers beyond `numeric`. PostgreSQL would refuse it with a text that names no field, and others' messages with it, so it is
 * found here, and named. And JavaScript would change what PostgreSQL keeps: 12345678901234567890 becomes
 * 12345678901234567000, and 1e400 becomes Infinity, which is written as null. Such numbers are carried through as their text.
 *
 * The common body has none of this. One scan of the text says so, and then it is parsed, and written again, at full speed.
 */
import { invalid } from './intakeFault.ts'

/** Deeper than anybody means it to be. PostgreSQL's own limit is that of its stack, some thousands. */
export const MAX_DEPTH = 64

/** Each value of a parsed body costs tens of bytes, however short its text. */
const MAX_VALUES = 250_000

/** A path longer than this names nothing that somebody could still read. */
const PATH_LENGTH = 200

/** What PostgreSQL's numeric can hold: digits before the point, and after it. */
const NUMERIC_BEFORE = 131_072
const NUMERIC_AFTER = 16_383

/** An escape that may be one of those; a number of more digits than JavaScript keeps, or with an exponent. */
const SUSPECT = /\\u|[\d.]{16}|\d[eE]/

/** Since V8 11.4; TypeScript does not declare it yet. https://github.com/tc39/proposal-json-parse-with-source */
interface JsonWithSource {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown
  rawJSON(text: string): object
  isRawJSON(value: unknown): value is { readonly rawJSON: string }
}
// The object is the same; its declaration is behind.
const json = JSON as unknown as JsonWithSource

export interface ParsedJson {
  readonly value: unknown
  /** Its parts are to be looked at by `faultIn` before they are written. */
  readonly isSuspect: boolean
}

/** Parses a body. Throws IntakeFault when it is no JSON, or more than can be looked at. */
export function parseJson(text: string): ParsedJson {
  const { depth, values } = scan(text)
  if (values > MAX_VALUES) throw invalid('body', `it has more than ${MAX_VALUES} values`)
  // The parser itself goes to any depth; a reviver, and writing, would not. A payload lies two levels deep at most.
  const isDeep = depth > MAX_DEPTH + 2
  const isSuspect = isDeep || SUSPECT.test(text)
  try {
    return { value: isSuspect && !isDeep ? json.parse(text, keepNumber) : JSON.parse(text), isSuspect }
  } catch (error) {
    const at = error instanceof Error ? /position (\d+)/.exec(error.message)?.[1] : undefined
    throw invalid('body', `it is not JSON${at === undefined ? '' : `: see position ${at}`}`)
  }
}

/** The first part of a value that cannot be kept, by its path, and why. */
export function faultIn(
  value: unknown,
  path: string,
  depth = 1,
): { field: string; message: string } | undefined {
  const fault = (message: string) => ({ field: path.slice(0, PATH_LENGTH), message })
  if (typeof value === 'string') {
    const why = textFault(value)
    return why === undefined ? undefined : fault(why)
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (json.isRawJSON(value)) {
    return fitsNumeric(value.rawJSON) ? undefined : fault('a number of no more digits than PostgreSQL keeps')
  }
  if (depth > MAX_DEPTH) return fault(`nested no deeper than ${MAX_DEPTH} levels`)
  for (const [key, inner] of Object.entries(value)) {
    const at = Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`
    const why = textFault(key)
    if (why !== undefined)
      return { field: at.toWellFormed().replaceAll('\u0000', '\\u0000').slice(0, PATH_LENGTH), message: why }
    const found = faultIn(inner, at, depth + 1)
    if (found !== undefined) return found
  }
  return undefined
}

/** Why PostgreSQL cannot keep a text; undefined: it can. */
export function textFault(text: string): string | undefined {
  if (text.includes('\u0000')) return 'text without \\u0000, which PostgreSQL cannot keep'
  return text.isWellFormed()
    ? undefined
    : 'text without halves of surrogate pairs, which PostgreSQL cannot keep'
}

function keepNumber(_key: string, value: unknown, { source }: { source?: string }): unknown {
  return typeof value === 'number' && source !== undefined && String(value) !== source
    ? json.rawJSON(source)
    : value
}

function fitsNumeric(text: string): boolean {
  const match = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text)
  if (match === null) return true
  const [, before = '', after = '', exponent = '0'] = match
  const moved = Number(exponent)
  return before.length + moved <= NUMERIC_BEFORE && after.length - moved <= NUMERIC_AFTER
}

/** Nesting and number of values, by brackets and commas alone; of what is no JSON it says nothing. */
function scan(text: string): { depth: number; values: number } {
  let depth = 0
  let deepest = 0
  let values = 1
  let isText = false
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (isText) {
      if (code === BACKSLASH) at += 1
      else if (code === QUOTE) isText = false
    } else if (code === QUOTE) isText = true
    else if (code === OPEN_BRACKET || code === OPEN_BRACE) {
      values += 1
      depth += 1
      if (depth > deepest) deepest = depth
    } else if (code === CLOSE_BRACKET || code === CLOSE_BRACE) depth -= 1
    else if (code === COMMA) values += 1
  }
  return { depth: deepest, values }
}

const [QUOTE, COMMA, OPEN_BRACKET, BACKSLASH, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = [
  0x22, 0x2c, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d,
]
