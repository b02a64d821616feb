import { execFile } from 'node:child_process'
import { findOnPath } from './program.ts'

/** A row as psql prints it: text by column; NULL and the empty text look alike, as they do on a screen. */
export type Row = Readonly<Record<string, string>>

/** Characters that are in no answer, so that nothing in one can be taken for the end of a field or row. */
const FIELD = '\u001F'
const RECORD = '\u001E'

/** Why tests through psql cannot run here, or false. */
export const psqlMissing: string | false =
  findOnPath('psql') === undefined && 'psql is not on the PATH (package postgresql-client)'

/** Runs one statement through psql, as an operator would. Rejects with what psql says. */
export function psql(url: string, sql: string): Promise<Row[]> {
  const form = ['--no-psqlrc', '--no-align', '--field-separator', FIELD, '--record-separator', RECORD]
  const args = [...form, '--pset', 'footer=off', '--set', 'ON_ERROR_STOP=1', '--command', sql, url]
  return new Promise((done, fail) => {
    execFile('psql', args, { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error !== null) fail(new Error(stderr.trim() || error.message))
      else done(rowsOf(stdout))
    })
  })
}

function rowsOf(output: string): Row[] {
  const [names = [], ...records] = output
    .replace(/\n$/, '')
    .split(RECORD)
    .map((record) => record.split(FIELD))
  return records.map((fields) => Object.fromEntries(names.map((name, index) => [name, fields[index] ?? ''])))
}
