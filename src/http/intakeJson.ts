/**
 * JSON as PostgreSQL can keep it.
 *
 * JSON of a sender's making can be more than `jsonb` takes: nested until a stack is full, \u0000, halves of surrogate pairs,
 * numbers beyond `numeric`. PostgreSQL would refuse it with a text that names no field, and others' messages with it, so it is
 * found here, by the scan, and named.
 */
import { invalid } from './intakeFault.ts'
import { pathTo, scan } from './intakeScan.ts'

/** Each value of a parsed body costs tens of bytes, however short its text. */
const MAX_VALUES = 250_000

/** A path longer than this names nothing that somebody could still read. */
const PATH_LENGTH = 200

export interface ParsedJson {
  readonly value: unknown
  /** The payload of the message with this number, as it was sent. Throws IntakeFault when it cannot be kept. */
  payloadText(message: number, field: string): string
}

/** Parses a body. Throws IntakeFault when it is no JSON, or more than can be looked at. */
export function parseJson(text: string): ParsedJson {
  const { values, payloads, flaw, isExcessive } = scan(text)
  if (values > MAX_VALUES) throw invalid('body', `it has more than ${MAX_VALUES} values`)
  const value = parsed(text)
  return {
    value,
    payloadText(message, field) {
      const [from, to] = payloads[message] ?? [0, 0]
      if (flaw?.message === message) throw invalid(shownPath(field + pathTo(flaw.at, text, from)), flaw.why)
      if (isExcessive)
        throw invalid('body', 'its numbers with exponents are far more digits when they are written out')
      return text.slice(from, to).trim()
    },
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const at = error instanceof Error ? /position (\d+)/.exec(error.message)?.[1] : undefined
    throw invalid('body', `it is not JSON${at === undefined ? '' : `: see position ${at}`}`)
  }
}

/** Why PostgreSQL cannot keep a text; undefined: it can. */
export function textFault(text: string): string | undefined {
  if (text.includes('\u0000')) return 'text without \\u0000, which PostgreSQL cannot keep'
  return text.isWellFormed()
    ? undefined
    : 'text without halves of surrogate pairs, which PostgreSQL cannot keep'
}

function shownPath(path: string): string {
  return path.toWellFormed().replaceAll('\u0000', '\\u0000').slice(0, PATH_LENGTH)
}
