import type { Command } from 'commander'
import type { Client } from 'pg'
import type { Settings } from '../../config/settings.ts'
import { readInvariants, type Lend } from '../../tables/invariant.ts'
import type { InvariantResult } from '../../tables/status.ts'
import { verdictOfInvariants } from '../../tables/verdict.ts'
import { keepDatabase, readOnly, withDatabase } from '../database.ts'
import { EXIT } from '../exitCodes.ts'
import { messageOf } from '../message.ts'
import { verdictLine } from '../sight.ts'
import { coloured, complain, print, printJson, table } from '../terminal.ts'
import { databaseSetup, watchedVerb, type Ending, type WatchedFlags } from '../verb.ts'
import { everyOf, watch } from '../watch.ts'

/** `tidemark verify`: every invariant by name, with the SQL behind those that do not hold. */
export function verifyVerb(ending: Ending): Command {
  return watchedVerb('verify', 'run every invariant').action(async (flags: WatchedFlags) => {
    const { settings } = await databaseSetup(flags)
    if (flags.watch !== undefined) {
      await watchInvariants(settings, flags)
      ending.code = EXIT.done
      return
    }
    // Until the answer is there, none of them has been checked.
    ending.code = EXIT.incomplete
    let results: InvariantResult[]
    try {
      results = await withDatabase(settings, (client) => readInvariants(lent(client, settings)))
    } catch (error) {
      complain(`could not run: ${messageOf(error)}`)
      return
    }
    if (flags.json === true) printJson(results)
    else print(resultsText(results))
    ending.code = codeOf(results)
  })
}

async function watchInvariants(settings: Settings, flags: WatchedFlags): Promise<void> {
  const database = keepDatabase(settings)
  await watch({
    everyS: everyOf(flags),
    json: flags.json === true,
    async look() {
      const results = await database.use((client) => readInvariants(lent(client, settings)))
      return { text: resultsText(results), document: results }
    },
  })
}

/** Each in a transaction of its own, so that each has the whole limit of a statement. */
function lent(client: Client, settings: Settings): Lend {
  return (ask) => readOnly(client, settings, () => ask(client))
}

/** What does not hold weighs more than what could not be checked. No invariant at all means that none was run. */
function codeOf(results: readonly InvariantResult[]): number {
  if (results.some(({ ok }) => ok === false)) return EXIT.failed
  return results.length === 0 || results.some(({ ok }) => ok === null) ? EXIT.incomplete : EXIT.done
}

function resultsText(results: readonly InvariantResult[]): string {
  const rows = results.map(({ name, ok, found, detail }) => [mark(ok), name, String(found ?? '-'), detail])
  const queries = results
    .filter(({ ok }) => ok !== true)
    .map(({ name, query }) => `${coloured('bold', name)} was checked by:\n${query.trim()}`)
  const held = results.filter(({ ok }) => ok === true).length
  const unknown = results.filter(({ ok }) => ok === null).length
  const rest = unknown === 0 ? '' : `, ${unknown} could not be checked`
  return [
    verdictLine(verdictOfInvariants(results)),
    table(['', 'invariant', 'found', 'detail'], rows),
    ...queries,
    `${held} of ${results.length} hold${rest}`,
  ].join('\n\n')
}

function mark(ok: boolean | null): string {
  if (ok === null) return coloured('yellow', '?')
  return ok ? coloured('green', 'ok') : coloured('red', 'FAILS')
}
