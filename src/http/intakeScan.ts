/**
 * One walk over the text of a body, before it is parsed: what it would cost, where its payloads stand, and what in them
 * PostgreSQL cannot keep.
 *
 * Payloads are stored as the very text that was sent. JavaScript would change what PostgreSQL keeps (12345678901234567890
 * becomes 12345678901234567000, 1e400 becomes null), and a reviver that keeps numbers as they are makes parsing ten times
 * slower, in the one thread that all requests share. So the parser only says whether it is JSON, and nobody walks through what
 * it has made; of what is no JSON, this says nothing.
 *
 * Few characters of a number may ask for much: jsonb keeps 1e131071 in some bytes, and every reader is sent its 131,072 digits.
 * 180 KB of those would be 2.6 GB, more than PostgreSQL can send or Node can hold, and would stop every claim that meets them.
 */

/** Deeper than anybody means it to be. PostgreSQL's own limit is that of its stack, some thousands. */
export const MAX_DEPTH = 64

/** What PostgreSQL's numeric can hold: digits before the point, and after it. */
const NUMERIC_BEFORE = 131_072
const NUMERIC_AFTER = 16_383

/** Digits of one number that has an exponent, written out. 64-bit floats have 309 before the point, some 340 after it. */
const MAX_WRITTEN_OUT = 1_000

/** So many digits of all of them, for each character of the body, and so many that a short body has besides. */
const WRITTEN_OUT_SHARE = 4
const WRITTEN_OUT_FREE = 2 ** 16

/** The longest that a text of 7 characters can be written: all as \u escapes, with its quotes. */
const LONGEST_KEY = 44

/** What cannot be kept: which message has it in its payload, at which place of the text, and why. */
export interface Flaw {
  readonly message: number
  readonly at: number
  readonly why: string
}

export interface Scanned {
  readonly values: number
  /** Where the payload of each message begins and ends; of one that has several, the last, as the parser has it. */
  readonly payloads: readonly (readonly [from: number, to: number])[]
  /** The first. */
  readonly flaw: Flaw | undefined
  /** The numbers with exponents, written out, are out of all proportion to the body. */
  readonly isExcessive: boolean
}

/** Tells values by brackets and commas, and payloads by where they can stand. */
export function scan(text: string): Scanned {
  const level = /^\s*\[/.test(text) ? 2 : 1
  const payloads: [number, number][] = []
  let flaw: Flaw | undefined
  let depth = 0
  let values = 1
  let writtenOut = 0
  let message = 0
  let keyFrom = 0
  let keyTo = 0
  /** Of the payload that we are in; -1: in none. */
  let from = -1

  const found = (at: number, why: string | undefined): void => {
    if (why !== undefined && from !== -1) flaw ??= { message, at, why }
  }
  const endOfValue = (at: number): void => {
    if (from !== -1) payloads[message] = [from, at]
    from = -1
  }
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      const end = endOfText(text, at, found)
      if (depth === level) {
        keyFrom = at
        keyTo = end
      }
      at = end
    } else if (code === OPEN_BRACKET || code === OPEN_BRACE) {
      values += 1
      depth += 1
      if (depth === level + MAX_DEPTH + 1) found(at, `nested no deeper than ${MAX_DEPTH} levels`)
    } else if (code === CLOSE_BRACKET || code === CLOSE_BRACE) {
      if (depth === level) endOfValue(at)
      depth -= 1
    } else if (code === COMMA) {
      values += 1
      if (depth === level) endOfValue(at)
      else if (depth < level) message += 1
    } else if (code === COLON) {
      if (depth === level && isPayload(text, keyFrom, keyTo)) {
        // The one before it does not count, and what was wrong with it does not either.
        if (flaw?.message === message) flaw = undefined
        from = at + 1
      }
    } else if (code === MINUS || (code >= ZERO && code <= NINE)) {
      const end = endOfNumber(text, at)
      if (end - at > 2) {
        const digits = writtenOutDigits(text, at, end)
        if (digits <= MAX_WRITTEN_OUT) writtenOut += digits
        else found(at, `a number of no more than ${MAX_WRITTEN_OUT} digits when it is written out`)
        if (end - at > NUMERIC_AFTER && digits === 0 && !fitsNumeric(text.slice(at, end)))
          found(at, 'a number of no more digits than PostgreSQL keeps')
      }
      at = end - 1
    }
  }
  const isExcessive = writtenOut > WRITTEN_OUT_SHARE * text.length + WRITTEN_OUT_FREE
  return { values, payloads, flaw, isExcessive }
}

/** The path of what stands at a place in a payload that begins at `from`: `.lines[2].note`. */
export function pathTo(place: number, text: string, from: number): string {
  const path: (string | number)[] = []
  let key = ''
  for (let at = from; at <= place; at += 1) {
    const code = text.charCodeAt(at)
    const last = path.length - 1
    if (code === QUOTE) {
      const end = endOfText(text, at)
      key = text.slice(at, end + 1)
      // What is asked for may be a key itself.
      if (at === place && /^\s*:/.test(text.slice(end + 1))) path[last] = key
      at = end
    } else if (code === COLON) path[last] = key
    else if (code === COMMA) {
      const index = path[last]
      if (typeof index === 'number') path[last] = index + 1
    } else if (at === place) break
    else if (code === OPEN_BRACKET) path.push(0)
    else if (code === OPEN_BRACE) path.push('')
    else if (code === CLOSE_BRACKET || code === CLOSE_BRACE) path.pop()
  }
  return path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${keyOf(step)}`)).join('')
}

function keyOf(text: string): string {
  return String(JSON.parse(text))
}

function isPayload(text: string, from: number, to: number): boolean {
  if (to - from >= LONGEST_KEY) return false
  const key = text.slice(from, to + 1)
  if (!key.includes('\\')) return key === '"payload"'
  try {
    return keyOf(key) === 'payload'
  } catch {
    return false
  }
}

/** Where the text ends that begins here: its quote, or the end of all. */
function endOfText(text: string, from: number, found?: (at: number, why: string) => void): number {
  let at = from + 1
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) break
    if (code !== BACKSLASH) continue
    at += 1
    if (text.charCodeAt(at) !== LETTER_U) continue
    const unit = Number.parseInt(text.slice(at + 1, at + 5), 16)
    at += 4
    if (unit === 0) found?.(from, 'text without \\u0000, which PostgreSQL cannot keep')
    // What is sent as it is, without an escape, has no halves: the body is UTF-8.
    if ((unit & 0xf800) !== 0xd800) continue
    if (unit < 0xdc00 && LOW_HALF.test(text.slice(at + 1, at + 7))) at += 6
    else found?.(from, 'text without halves of surrogate pairs, which PostgreSQL cannot keep')
  }
  return at
}

function endOfNumber(text: string, from: number): number {
  let at = from + 1
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    const isOfNumber =
      (code >= ZERO && code <= NINE) ||
      code === POINT ||
      (code | 0x20) === LETTER_E ||
      code === PLUS ||
      code === MINUS
    if (!isOfNumber) break
  }
  return at
}

/** How many digits a number with an exponent has without it; 0: it has none. */
function writtenOutDigits(text: string, from: number, to: number): number {
  let point = -1
  for (let at = from; at < to; at += 1) {
    const code = text.charCodeAt(at)
    if (code === POINT) point = at
    if ((code | 0x20) !== LETTER_E) continue
    const moved = Number(text.slice(at + 1, to))
    const before = (point === -1 ? at : point) - from
    const after = point === -1 ? 0 : at - point - 1
    return Math.max(before + moved, 1) + Math.max(after - moved, 0)
  }
  return 0
}

function fitsNumeric(text: string): boolean {
  const [before = '', after = ''] = text.replace('-', '').split('.')
  return before.length <= NUMERIC_BEFORE && after.length <= NUMERIC_AFTER
}

const LOW_HALF = /^\\u[dD][c-fC-F]/

const [QUOTE, COMMA, COLON, OPEN_BRACKET, BACKSLASH, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = [
  0x22, 0x2c, 0x3a, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d,
]
const [PLUS, MINUS, POINT, ZERO, NINE, LETTER_E, LETTER_U] = [0x2b, 0x2d, 0x2e, 0x30, 0x39, 0x65, 0x75]
