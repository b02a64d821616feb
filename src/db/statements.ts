import { readFileSync } from 'node:fs'
import { SqlFileInvalid } from '../errors.ts'
import { sqlPath } from './folder.ts'

const NAME_LINE = /^-- name:[ \t]*(\S*)[ \t]*$/

/**
 * Reads `sql/queries/<file>.sql` once, at start: statements by name, each from its `-- name: some_name` line to the
 * next one. The names are listed where they are used, so that a typo is a compile error; a missing, extra or repeated
 * one in the file throws {@link SqlFileInvalid} before anything runs.
 */
export function loadStatements<const N extends string>(
  file: string,
  names: readonly N[],
): Readonly<Record<N, string>> {
  const path = `sql/queries/${file}.sql`
  const found = splitStatements(readFileSync(sqlPath(`queries/${file}.sql`), 'utf8'), path)
  const wanted = new Set<string>(names)
  const extra = [...found.keys()].filter((name) => !wanted.has(name))
  if (extra.length > 0) throw new SqlFileInvalid(path, `nothing uses ${extra.join(', ')}`)
  const entries = names.map((name): [N, string] => {
    const text = found.get(name)
    if (text === undefined) throw new SqlFileInvalid(path, `statement ${name} is missing`)
    return [name, text]
  })
  // fromEntries widens the keys to string; `entries` holds exactly one pair for each of N.
  return Object.freeze(Object.fromEntries(entries) as Record<N, string>)
}

/** The statements of one file's text, by name. `path` is only for messages. */
export function splitStatements(text: string, path: string): Map<string, string> {
  const found = new Map<string, string[]>()
  let current: string[] | undefined
  for (const line of text.split(/\r?\n/)) {
    const name = NAME_LINE.exec(line)?.[1]
    if (name !== undefined) {
      if (name === '') throw new SqlFileInvalid(path, 'a `-- name:` line has no name')
      if (found.has(name)) throw new SqlFileInvalid(path, `statement ${name} is there twice`)
      current = []
      found.set(name, current)
    } else if (current !== undefined) {
      current.push(line)
    } else if (line.trim() !== '' && !line.startsWith('--')) {
      throw new SqlFileInvalid(path, 'SQL stands before the first `-- name:` line')
    }
  }
  const statements = new Map<string, string>()
  for (const [name, lines] of found) {
    const body = lines.join('\n').trim()
    if (body === '') throw new SqlFileInvalid(path, `statement ${name} is empty`)
    statements.set(name, body)
  }
  return statements
}

// psql's notation for an interpolated identifier, so that a file with placeholders can be tried in psql (\set).
const PLACEHOLDER = /:"([a-z_][a-z0-9_]*)"/g

/**
 * Puts already quoted SQL (from `quoteIdentifier` or `quoteQualified`) in the place of `:"name"`. Throws
 * {@link SqlFileInvalid} when a placeholder has no value or a value has no placeholder.
 */
export function fillIdentifiers(text: string, quoted: Readonly<Record<string, string>>): string {
  const used = new Set<string>()
  const filled = text.replace(PLACEHOLDER, (placeholder, name: string) => {
    const value = quoted[name]
    if (value === undefined) throw new SqlFileInvalid('statement', `no value for ${placeholder}`)
    used.add(name)
    return value
  })
  const unused = Object.keys(quoted).filter((name) => !used.has(name))
  if (unused.length > 0) throw new SqlFileInvalid('statement', `no place for ${unused.join(', ')}`)
  return filled
}
