import { IdentifierInvalid } from '../errors.ts'

// The only place that turns a name into SQL. Everything else that varies in a statement is a parameter.

/** PostgreSQL keeps 63 bytes of a name and drops the rest silently: two long names could become one. */
const MAX_NAME_BYTES = 63

/** One plain name as a quoted identifier: `say "hi"` becomes `"say ""hi"""`. Throws {@link IdentifierInvalid}. */
export function quoteIdentifier(name: string): string {
  if (name === '') throw new IdentifierInvalid(name, 'it is empty')
  if (name.includes('\0')) throw new IdentifierInvalid(name, 'it contains a zero byte')
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw new IdentifierInvalid(name, `it is longer than ${MAX_NAME_BYTES} bytes`)
  }
  return `"${name.replaceAll('"', '""')}"`
}

/** One part of a qualified name: quoted with doubled quotes inside, or bare up to the next dot. */
const PART = /"((?:[^"]|"")*)"|([^".]+)/y

/**
 * Reads `table` or `schema.table` into its plain parts. A part that contains a dot or a quote is written as in SQL:
 * `"odd.schema"."say ""hi"""`. A bare part is taken as it stands, with its case: `Orders` is the table `"Orders"`.
 */
export function splitQualified(text: string): [name: string] | [schema: string, name: string] {
  const parts: string[] = []
  let at = 0
  for (;;) {
    PART.lastIndex = at
    const match = PART.exec(text)
    if (match === null) throw new IdentifierInvalid(text, 'a part is empty or its quotes are not closed')
    parts.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '')
    at = PART.lastIndex
    if (at === text.length) break
    if (text[at] !== '.')
      throw new IdentifierInvalid(text, 'a quoted part is followed by something other than a dot')
    at += 1
  }
  const [first, second, ...rest] = parts
  if (first === undefined || rest.length > 0) throw new IdentifierInvalid(text, 'write schema.table or table')
  return second === undefined ? [first] : [first, second]
}

/** `table` or `schema.table` as quoted SQL; see {@link splitQualified} for odd names. */
export function quoteQualified(text: string): string {
  return splitQualified(text).map(quoteIdentifier).join('.')
}
