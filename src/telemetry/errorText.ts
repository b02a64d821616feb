/** Length at which the text of an error is cut, in characters: a log line and a table cell stay readable. */
const MAX_TEXT = 200

/** An error as it may be shown to anybody: its class, and its first line without secrets or places. */
export interface CleanError {
  readonly class: string
  readonly text: string
}

/*
 * Whoever logs may log a megabyte of somebody else's text. So nothing here begins anew within what it has looked at: words and runs
 * of letters are looked at from their beginning alone.
 */

/** `postgres://host/…`; with a user or a password in it an address of any scheme (`withoutAddress`). */
const POSTGRES_ADDRESS = /\bpostgres(?:ql)?:\/\/[^\s'"<>]+/gi
const WORD = /[^\s'"<>]+/g
/** libpq's `password=…` words, and their like, also at the end of a longer name: `PGPASSWORD=`, `"clientSecret":`, `AWS_SECRET_ACCESS_KEY=`. */
const PASSWORD_WORD =
  /(password|passwd|passphrase|pwd|token|secret(?:[_-]?access)?(?:[_-]?key)?|(?:api|access|private)[_-]?key)["']?\s*[=:]\s*(?:bearer\s+)?('[^']*'|"[^"]*"|[^\s&;,]+)/gi
/** What is a secret by its form: bearer tokens, and keys whose maker gave them a prefix to be found by. */
const SECRET_FORM =
  /\b(?:(?:bearer|basic)\s+[\w.~+/-]{8,}=*|[spr]k_(?:live|test)_\w+|whsec_[\w+/=-]+|gh[pousr]_\w{20,}|xox[abprs]-[\w-]+|AKIA[0-9A-Z]{16})/gi
/** Three parts of base64url, the first of which is a JSON object. */
const JSON_WEB_TOKEN = /(?<![\w-])(?=(?:[\w-]*-)?eyJ)[\w-]+\.[\w-]+\.[\w-]*/gi
/** `file:` addresses, Windows paths, and absolute POSIX paths of two parts or more (a lone `/health` is a route). */
const FILE_URL = /\bfile:\/\/[^\s'"<>)]+/gi
const WINDOWS_PATH = /\b[A-Za-z]:\\[^\s'"<>|)]+/g
const POSIX_PATH = /(?<![\w:/.<>-])\/(?:[\w.@+~-]+\/)+[\w.@+~-]*(?::\d+)*/g

/** Control characters: PostgreSQL refuses \\u0000 in a text, and one such error must not hold up the outcomes beside it. */
const CONTROL = /[\u0000-\u001f\u007f]/g

/*
 * Values that errors quote: a message's payload, or a part of it, has no place in a log. Objects as JSON and as Node's
 * inspect prints them; what JSON.parse stumbled over; what PostgreSQL could not read as its type (SQLSTATE class 22).
 */
const OBJECT_TEXT = /[{[]\s*(?:["'{[]|\w+\s*:).*[}\]]|[{[]\s*(?:["'{[]|\w+\s*:).*$/g
const JSON_PARSE = /^(Unexpected (?:token|non-whitespace|end|number|string)[^"]*?)(?:\.\.\.)?".*$/
const NOT_JSON = /(?:\.\.\.)?".*"(?:\.\.\.)? is not valid JSON/
const DATA_VALUE = /: ".*$|(?<=\bvalue )".*"/

/** The text with connection strings, passwords and absolute paths replaced; its length is left alone. */
export function cleanText(text: string): string {
  return text
    .replace(FILE_URL, '[path]')
    .replace(WORD, withoutAddress)
    .replace(POSTGRES_ADDRESS, '[connection string]')
    .replace(PASSWORD_WORD, '$1=[redacted]')
    .replace(SECRET_FORM, '[redacted]')
    .replace(JSON_WEB_TOKEN, '[redacted]')
    .replace(WINDOWS_PATH, '[path]')
    .replace(POSIX_PATH, '[path]')
}

/** `scheme://user:password@host/…` in a word, to its end. */
function withoutAddress(word: string): string {
  const at = word.indexOf('://')
  if (at < 0 || !word.includes('@', at)) return word
  const [scheme = ''] = /[a-z0-9+.-]*$/i.exec(word.slice(0, at)) ?? []
  return `${word.slice(0, at - scheme.length)}[connection string]`
}

/**
 * Class and first line of whatever was thrown, fit for a log line, `last_error` and `/health`. The class is one
 * word. A system error's is its code (`ECONNREFUSED`), since `Error` would say nothing; a database error's
 * text begins with its SQLSTATE.
 */
export function cleanError(error: unknown): CleanError {
  try {
    return describe(error)
  } catch {
    // A thrown thing may have a getter that throws, or a name that is no text; telling of it must never fail.
    return { class: typeof error, text: 'an error that cannot be described' }
  }
}

function describe(error: unknown): CleanError {
  const name = nameOf(error)
  const code = codeOf(error)
  const text = cleanText(withoutValues(firstLine(messageOf(error)), code)).replace(CONTROL, ' ')
  if (code === undefined) return { class: name, text: cut(text) }
  if (name === 'Error' || name === 'AggregateError') return { class: code, text: cut(text) }
  return { class: name, text: cut(`[${code}] ${text}`) }
}

function withoutValues(line: string, code: string | undefined): string {
  const plain = line
    .replace(JSON_PARSE, '$1[value]')
    .replace(NOT_JSON, '[value] is not valid JSON')
    .replace(OBJECT_TEXT, '[object]')
  return code?.length === 5 && code.startsWith('22')
    ? plain.replace(DATA_VALUE, (found) => (found.startsWith(':') ? ': [value]' : '[value]'))
    : plain
}

/** The same as one string, as `last_error` keeps it: `class: text`, 200 characters at most. */
export function errorText(error: unknown): string {
  const { class: className, text } = cleanError(error)
  const line = text === '' ? className : `${className}: ${text}`
  return cut(line)
}

function cut(line: string): string {
  return line.length > MAX_TEXT ? `${line.slice(0, MAX_TEXT - 1)}…` : line
}

function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return error === null ? 'null' : typeof error
  // node-postgres calls its class DatabaseError and its name 'error'; the constructor tells more.
  const name: unknown = Reflect.get(error, 'name')
  return isName(name) && name !== 'error' && name !== 'Error' ? name : constructorName(error)
}

/** An object made without a class has none. */
function constructorName(error: object): string {
  const made: unknown = Reflect.get(error, 'constructor')
  return typeof made === 'function' && isName(made.name) ? made.name : 'Error'
}

/** Of a class; anything else that an error has for a name may be a message, with all that messages can hold. */
function isName(name: unknown): name is string {
  return typeof name === 'string' && /^[\p{L}\p{N}_$.]{1,64}$/u.test(name)
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  const { code } = error
  return typeof code === 'string' && /^[A-Z0-9_]{3,40}$/.test(code) ? code : undefined
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    // A connection that was tried on IPv6 and IPv4 fails with an empty message and two errors inside.
    const [first] = error.errors as readonly unknown[]
    return first === undefined ? '' : messageOf(first)
  }
  if (error instanceof Error) return error.message
  if (typeof error === 'string') return error
  if (typeof error === 'object' && error !== null) {
    return 'message' in error && typeof error.message === 'string' ? error.message : 'an object was thrown'
  }
  return String(error)
}

function firstLine(text: string): string {
  // Longer than any line that is kept, cut before the expressions run over it.
  return (text.trimStart().split(/[\r\n]/, 1)[0] ?? '').slice(0, 2000).trimEnd()
}
