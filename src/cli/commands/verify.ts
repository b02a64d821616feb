import type { Command } from 'commander'
import { readInvariants, type InvariantResult } from '../../tables/status.ts'
import { readOnly, withDatabase } from '../database.ts'
import { EXIT } from '../exitCodes.ts'
import { messageOf } from '../message.ts'
import { coloured, complain, print, printJson, table } from '../terminal.ts'
import { databaseSetup, readingVerb, type Ending, type ReadingFlags } from '../verb.ts'

/** `tidemark verify`: every invariant by name, with the SQL behind those that do not hold. */
export function verifyVerb(ending: Ending): Command {
  return readingVerb('verify', 'run every invariant').action(async (flags: ReadingFlags) => {
    const { settings } = await databaseSetup(flags)
    // Until the answer is there, none of them has been checked.
    ending.code = EXIT.incomplete
    let results: InvariantResult[]
    try {
      results = await withDatabase(settings, (client) =>
        readOnly(client, settings, () => readInvariants(client)),
      )
    } catch (error) {
      complain(`could not run: ${messageOf(error)}`)
      return
    }
    if (flags.json === true) printJson(results)
    else printResults(results)
    ending.code = codeOf(results)
  })
}

/** What does not hold weighs more than what could not be checked. No invariant at all means that none was run. */
function codeOf(results: readonly InvariantResult[]): number {
  if (results.some(({ ok }) => ok === false)) return EXIT.failed
  return results.length === 0 || results.some(({ ok }) => ok === null) ? EXIT.incomplete : EXIT.done
}

function printResults(results: readonly InvariantResult[]): void {
  const rows = results.map(({ name, ok, found, detail }) => [mark(ok), name, String(found ?? '-'), detail])
  print(table(['', 'invariant', 'found', 'detail'], rows))
  for (const { name, query } of results.filter(({ ok }) => ok !== true)) {
    print(`\n${coloured('bold', name)} was checked by:\n${query.trim()}`)
  }
  const held = results.filter(({ ok }) => ok === true).length
  const unknown = results.filter(({ ok }) => ok === null).length
  const rest = unknown === 0 ? '' : `, ${unknown} could not be checked`
  print(`\n${held} of ${results.length} hold${rest}`)
}

function mark(ok: boolean | null): string {
  if (ok === null) return coloured('yellow', '?')
  return ok ? coloured('green', 'ok') : coloured('red', 'FAILS')
}
