import type { Command } from 'commander'
import type { Settings } from '../../config/settings.ts'
import { readStatus } from '../../tables/status.ts'
import { keepDatabase, readOnly, withDatabase } from '../database.ts'
import { EXIT } from '../exitCodes.ts'
import { print, printJson } from '../terminal.ts'
import { databaseSetup, watchedVerb, type Ending, type WatchedFlags } from '../verb.ts'
import { everyOf, watch } from '../watch.ts'
import { statusText } from './status/text.ts'

/** `tidemark status`: who leads, how far the pollers are, what waits, which instances run. */
export function statusVerb(ending: Ending): Command {
  return watchedVerb('status', 'leaders, pollers, backlog, processors, slots and instances').action(
    async (flags: WatchedFlags) => {
      const { settings } = await databaseSetup(flags)
      if (flags.watch !== undefined) {
        await watchStatus(settings, flags)
      } else {
        const status = await withDatabase(settings, (client) =>
          readOnly(client, settings, () => readStatus(client)),
        )
        if (flags.json === true) printJson(status)
        else print(statusText(status))
      }
      ending.code = EXIT.done
    },
  )
}

async function watchStatus(settings: Settings, flags: WatchedFlags): Promise<void> {
  const database = keepDatabase(settings)
  await watch({
    everyS: everyOf(flags),
    json: flags.json === true,
    async look() {
      const status = await database.use((client) => readOnly(client, settings, () => readStatus(client)))
      return { text: statusText(status), document: status }
    },
  })
}
