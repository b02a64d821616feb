import { type Command } from 'commander'
import { withTransaction } from '../../db/transaction.ts'
import { previewReset, resetPoller } from '../../ingest/reset.ts'
import type { ResetPreview } from '../../ingest/reset.ts'
import { checkSource } from '../../ingest/sourceCheck.ts'
import { EXIT } from '../exitCodes.ts'
import { pollerSetup, readTime, withPool } from '../poller.ts'
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
        const edge = await withTransaction(pool, (client) => resetPoller(client, name, source, flags.from))
        if (flags.json === true) {
          const { look, isOtherSource, skipped, read, known } = preview
          printJson({
            poller: name,
            source: source.table,
            edge,
            before: look.edge,
            isOtherSource,
            skipped,
            read,
            known,
          })
        } else {
          say(name, source.table, edge, preview)
        }
      })
      ending.code = EXIT.done
    })
}

const STARTS: Readonly<Record<string, string>> = { beginning: '-infinity', now: 'now' }

function readStart(text: string): string {
  return STARTS[text] ?? readTime(text)
}

function say(name: string, table: string, edge: string, preview: ResetPreview): void {
  const { look, isOtherSource, skipped, read, known } = preview
  const shown = edge === '-infinity' ? 'the beginning' : edge
  print(
    `${name} starts anew at ${shown} in ${table}${look.edge === null ? '' : `; its edge was ${look.edge}`}`,
  )
  if (look.is_forgotten)
    print('  that is later than asked for: what is older may have been processed and was forgotten')
  if (skipped === null) print('  what is older in the new source is not taken in')
  else if (skipped > 0) print(`  left out: ${skipped} rows before it that are not in the inbox`)
  print(`  to be read: ${read} rows from there on, ${known} of which the inbox has by their id`)
  if (isOtherSource && known > 0) {
    complain(
      `tidemark: ${known} rows of ${table} have ids that ${name} took in before. They count as taken in and are never ` +
        'processed: where they are other messages, give the new source a poller of its own name',
    )
  }
}
