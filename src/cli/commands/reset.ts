import { type Command } from 'commander'
import { withTransaction } from '../../db/transaction.ts'
import { previewReset, resetPoller } from '../../ingest/reset.ts'
import type { ResetPreview } from '../../ingest/reset.ts'
import { checkSource } from '../../ingest/sourceCheck.ts'
import { recordAction } from '../../tables/control.ts'
import { actHere } from '../actor.ts'
import { EXIT } from '../exitCodes.ts'
import { BEGINNING, pollerSetup, readBeginning, timeFlag, withPool } from '../poller.ts'
import { complain, print, printJson } from '../terminal.ts'
import { verb, type Ending } from '../verb.ts'

interface Flags {
  readonly config?: string
  readonly from: string
  readonly json?: true
}

/** `tidemark reset NAME`: gives a poller whose source changed, or that must start elsewhere, a new start. */
export function resetVerb(ending: Ending): Command {
  return verb('reset', 'give a poller a new start, in the source that the config names now')
    .argument('<name>', 'name of the poller')
    .requiredOption(
      '--from <time>',
      "rows written from then on, with its zone: 2026-03-01T08:00:00Z; or 'beginning', or 'now'",
      readStart,
    )
    .option('--json', 'print one JSON document')
    .action(async (name: string, flags: Flags) => {
      const { settings, poller } = await pollerSetup(flags, name)
      await withPool(settings, async (pool) => {
        const { source } = await checkSource(pool, poller.source)
        const options = { db: pool, name, source, pageSize: poller.pageSize }
        const preview = await previewReset(options, flags.from)
        const edge = await withTransaction(pool, async (client) => {
          await actHere(client)
          const start = await resetPoller(client, name, source, flags.from)
          await recordAction(client, 'reset', name, { from: flags.from, edge: start })
          return start
        })
        if (flags.json === true) {
          const { look, isOtherSource, skipped, read, known } = preview
          printJson({
            poller: name,
            source: source.table,
            edge,
            edge_before: look.edge,
            is_other_source: isOtherSource,
            is_forgotten: look.is_forgotten,
            skipped,
            read,
            known,
          })
        } else {
          say(name, source.table, edge, preview, flags)
        }
      })
      ending.code = EXIT.done
    })
}

function readStart(text: string): string {
  return text === 'now' ? text : readBeginning(text)
}

function say(name: string, table: string, edge: string, preview: ResetPreview, flags: Flags): void {
  const { look, isOtherSource, skipped, read, known } = preview
  print(
    `${name} starts anew at ${shown(edge)} in ${table}${look.edge === null ? '' : `; its edge was ${shown(look.edge)}`}`,
  )
  const replay = `tidemark replay ${name}${flags.config === undefined ? '' : ` --config ${flags.config}`}`
  if (look.is_forgotten) {
    print(
      `  asked for was ${shown(flags.from)}; what is older than ${edge} may have been processed as ${name}'s and`,
    )
    print('  forgotten by retention, or was left out by a reset, so it does not begin in that')
    print(
      `  left out: ${skipped ?? 0} rows from ${shown(flags.from)} on that are not in the inbox; this takes them in:`,
    )
    print(`    ${replay} --from ${timeFlag(flags.from)} --to ${timeFlag(edge)} --apply --include-forgotten`)
  } else if (skipped === null) {
    print('  what is older in the new source is not taken in; this counts it:')
    print(`    ${replay} --from beginning --to ${timeFlag(edge)}`)
  } else if (skipped > 0) {
    print(`  left out: ${skipped} rows before it that are not in the inbox`)
  }
  print(`  to be read: ${read} rows from there on, ${known} of which the inbox has by their id`)
  if (isOtherSource && known > 0) {
    complain(
      `tidemark: ${known} rows of ${table} have ids that ${name} took in before. They count as taken in and are never ` +
        'processed: where they are other messages, give the new source a poller of its own name',
    )
  }
}

function shown(time: string): string {
  return time === BEGINNING ? 'the beginning' : time
}
