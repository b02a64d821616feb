import { Argument, type Command } from 'commander'
import type { WakeChange } from '../../ingest/wakeTrigger.ts'
import { wakeOff, wakeOn } from '../../ingest/wakeTrigger.ts'
import { actor } from '../actor.ts'
import { EXIT } from '../exitCodes.ts'
import { withPool } from '../poller.ts'
import { complain, print, printJson } from '../terminal.ts'
import { databaseSetup, readingVerb, type Ending, type ReadingFlags } from '../verb.ts'

/** `tidemark wake on|off NAME`: puts the insert trigger that wakes a poller on its source, or takes it off. */
export function wakeVerb(ending: Ending): Command {
  return readingVerb('wake', 'make inserts wake a poller at once, or leave it to the clock again')
    .addArgument(new Argument('<switch>', 'on or off').choices(['on', 'off']))
    .argument('<name>', 'name of the poller, as it is registered in the database')
    .action(async (way: string, name: string, flags: ReadingFlags) => {
      const { settings } = await databaseSetup(flags)
      const isOn = way === 'on'
      const change = await withPool(settings, (pool) =>
        isOn ? wakeOn(pool, name, { actor: actor() }) : wakeOff(pool, name, actor()),
      )
      if (flags.json === true)
        printJson({ poller: name, wake: isOn, changed: change.changed, table: change.table })
      else say(name, isOn, change)
      ending.code = EXIT.done
    })
}

function say(name: string, isOn: boolean, { changed, table, prepares }: WakeChange): void {
  const source = table ?? 'its source'
  if (!changed)
    print(isOn ? `${name}: inserts into ${source} wake it already` : `${name}: no insert wakes it`)
  else if (isOn) print(`${name}: inserts into ${source} wake it from now on`)
  else print(`${name}: the trigger is gone from ${source}; passes come by the clock`)
  if (isOn && prepares)
    complain(
      'note: this server lets transactions be prepared, and one that has woken a poller cannot be: whoever writes to ' +
        `${source} with PREPARE TRANSACTION needs \`tidemark wake off ${name}\``,
    )
}
