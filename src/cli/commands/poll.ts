import type { Command } from 'commander'
import type { Settings } from '../../config/settings.ts'
import { createPool } from '../../db/pool.ts'
import { withTransaction } from '../../db/transaction.ts'
import type { PassRow } from '../../jobs/jobRows.ts'
import { recordAction } from '../../tables/control.ts'
import { actHere } from '../actor.ts'
import { withAddress } from '../database.ts'
import { EXIT } from '../exitCodes.ts'
import { complain, print, printJson } from '../terminal.ts'
import { databaseSetup, readingVerb, type Ending, type ReadingFlags } from '../verb.ts'

/** A pass over a long backlog takes pages of milliseconds each; one that takes longer than this is worth a look. */
const PATIENCE_MS = 60_000

/** `tidemark poll NAME`: asks the poller's leader for a pass now and waits for it. */
export function pollVerb(ending: Ending): Command {
  return readingVerb('poll', 'run a poller now and wait for the pass')
    .argument('<name>', 'name of the poller')
    .action(async (name: string, flags: ReadingFlags) => {
      const { settings } = await databaseSetup(flags)
      const pass = await withAddress(settings, ({ url }) => pollOnce(settings, url, name))
      if (flags.json === true) printJson({ poller: name, ...pass })
      else
        print(
          `${name}: ${pass.outcome}, ${pass.rowsRead} rows read, ${pass.rowsInserted} new, ${pass.lateRows} late`,
        )
      if (pass.outcome === 'failed') complain(`the pass failed: ${pass.error ?? 'no reason is on record'}`)
      ending.code = pass.outcome === 'failed' ? EXIT.failed : EXIT.done
    })
}

async function pollOnce(settings: Settings, url: string, name: string): Promise<PassRow> {
  const { requestPass, requirePollable } = await import('../../jobs/requestPass.ts')
  const pool = createPool({
    url,
    applicationName: 'tidemark:cli',
    max: 2,
    connectTimeoutMs: settings.connectTimeoutMs,
    startupOptions: false,
    limits: { statementTimeoutMs: settings.statementTimeoutMs, lockTimeoutMs: 0, idleInTransactionMs: 0 },
  })
  try {
    await requirePollable(pool, name)
    await withTransaction(pool, async (client) => {
      await actHere(client)
      await recordAction(client, 'poll', name)
    })
    return await requestPass(pool, name, { timeoutMs: PATIENCE_MS })
  } finally {
    await pool.end()
  }
}
