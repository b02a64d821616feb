import type { Command } from 'commander'
import { setPaused } from '../../tables/control.ts'
import type { PauseChange } from '../../tables/control.ts'
import { actHere } from '../actor.ts'
import { readWrite, withDatabase } from '../database.ts'
import { EXIT } from '../exitCodes.ts'
import { print, printJson } from '../terminal.ts'
import { databaseSetup, readingVerb, type Ending, type ReadingFlags } from '../verb.ts'

/** `tidemark pause NAME`: holds a poller, processor or job on every instance. */
export function pauseVerb(ending: Ending): Command {
  return changeVerb('pause', 'hold a poller, processor or job on every instance, until it is resumed', ending)
}

/** `tidemark resume NAME`: lets it go on. */
export function resumeVerb(ending: Ending): Command {
  return changeVerb('resume', 'let a paused poller, processor or job go on', ending)
}

function changeVerb(name: 'pause' | 'resume', description: string, ending: Ending): Command {
  return readingVerb(name, description)
    .argument('<name>', 'name of the task')
    .action(async (task: string, flags: ReadingFlags) => {
      const { settings } = await databaseSetup(flags)
      const change = await withDatabase(settings, (client) =>
        readWrite(client, settings, async () => {
          await actHere(client)
          return setPaused(client, task, name === 'pause')
        }),
      )
      if (flags.json === true) printJson(documentOf(task, change))
      else print(sentence(task, change))
      ending.code = EXIT.done
    })
}

function documentOf(task: string, { kind, paused, paused_by, paused_at, changed, action }: PauseChange) {
  return { task, kind, paused, paused_by, paused_at, changed, action_id: Number(action) }
}

/** What it means for each kind, within 2 s. */
const HELD = {
  poller: 'no pass is begun; the page at hand is finished',
  processor: 'no message is begun; those in work go on to their end',
  job: 'no run is started; one at work goes on to its end',
} as const

function sentence(
  task: string,
  { kind, paused, paused_by: by, paused_at: at, changed }: PauseChange,
): string {
  if (!paused) return changed ? `${task} goes on` : `${task} was not paused`
  if (!changed)
    return `${task} is paused already, since ${at ?? 'before that was written down'} by ${by ?? 'somebody'}`
  return `${task} is paused, on every instance within 2 s: ${HELD[kind]}`
}
