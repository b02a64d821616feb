import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { splitStatements } from '../../../src/db/statements.ts'

const file = join(import.meta.dirname, 'line.sql')
const statements = splitStatements(readFileSync(file, 'utf8'), 'scripts/bench/line/line.sql')

/** A statement of line.sql by its name. */
export function lineSql(name: string): string {
  const text = statements.get(name)
  if (text === undefined) throw new Error(`line.sql has no statement ${name}`)
  return text
}
