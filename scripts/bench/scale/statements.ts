import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { splitStatements } from '../../../src/db/statements.ts'

const file = join(import.meta.dirname, 'scale.sql')
const statements = splitStatements(readFileSync(file, 'utf8'), 'scripts/bench/scale/scale.sql')

/** A statement of scale.sql by its name. */
export function scaleSql(name: string): string {
  const text = statements.get(name)
  if (text === undefined) throw new Error(`scale.sql has no statement ${name}`)
  return text
}
