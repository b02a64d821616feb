import { readdirSync, readFileSync } from 'node:fs'
import { SqlFileInvalid } from '../../errors.ts'
import { sqlPath } from '../folder.ts'
import type { Queryable } from '../pool.ts'
import { loadStatements } from '../statements.ts'
import { CODE_SCHEMA_VERSION } from './files.ts'

const sql = loadStatements('invariant', ['are_kept', 'sync'])

/** One file of `sql/verify`: something that must always be true, and the query that counts its violations. */
export interface Invariant {
  /** File name without number and extension. */
  readonly name: string
  /** `poller`: the query is a template that is run for each poller. */
  readonly scope: 'once' | 'poller'
  readonly title: string
  readonly meaning: string
  readonly query: string
}

/** The invariants that this release knows, by name. Throws {@link SqlFileInvalid} for a file without its header. */
export function readInvariants(): Invariant[] {
  return readdirSync(sqlPath('verify'))
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => parseInvariant(file, readFileSync(sqlPath(`verify/${file}`), 'utf8')))
}

/** Reads `-- title:`, `-- meaning:` and `-- scope:` from the top of a file; the rest is the query. */
export function parseInvariant(file: string, text: string): Invariant {
  const path = `sql/verify/${file}`
  const header = new Map<string, string>()
  const lines = text.split(/\r?\n/)
  let at = 0
  for (; at < lines.length; at += 1) {
    const match = /^-- (title|meaning|scope): (.+)$/.exec(lines[at] ?? '')
    if (match === null) break
    header.set(match[1] ?? '', (match[2] ?? '').trim())
  }
  const take = (key: string): string => {
    const value = header.get(key)
    if (value === undefined) throw new SqlFileInvalid(path, `there is no line "-- ${key}: …" at the top`)
    return value
  }
  const scope = take('scope')
  if (scope !== 'once' && scope !== 'poller')
    throw new SqlFileInvalid(path, 'scope is neither once nor poller')
  const query = lines.slice(at).join('\n').trim().replace(/;$/, '')
  if (query === '') throw new SqlFileInvalid(path, 'there is no query')
  const name = file.replace(/\.sql$/, '').replace(/^\d+[-_]/, '')
  return { name, scope, title: take('title'), meaning: take('meaning'), query }
}

/** Makes the rows behind `verify()` equal to the files; what a newer release has written stays. */
export async function syncInvariants(client: Queryable): Promise<void> {
  const values = [JSON.stringify(readInvariants()), CODE_SCHEMA_VERSION]
  const { rows } = await client.query<{ kept: boolean }>(sql.are_kept, values)
  if (rows[0]?.kept !== true) await client.query(sql.sync, values)
}
