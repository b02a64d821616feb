import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { splitStatements } from '../../src/db/statements.ts'

const file = join(import.meta.dirname, 'bench.sql')
const statements = splitStatements(readFileSync(file, 'utf8'), 'scripts/bench/bench.sql')

/** A statement of bench.sql by its name. */
export function benchSql(name: string): string {
  const text = statements.get(name)
  if (text === undefined) throw new Error(`bench.sql has no statement ${name}`)
  return text
}
