import type { Client } from 'pg'
import type { Command } from 'commander'
import { readTrace, tracesOf, type StoryLine } from '../../tables/trace.ts'
import { readOnly, withDatabase } from '../database.ts'
import { EXIT } from '../exitCodes.ts'
import { span } from '../../kit/span.ts'
import { printable } from '../../kit/printable.ts'
import { coloured, complain, print, printJson, table } from '../terminal.ts'
import { databaseSetup, readingVerb, type Ending, type ReadingFlags } from '../verb.ts'

/** One trace and what is known under it. */
interface Story {
  readonly trace_id: string
  /** Where a message has the id that was asked for, since no trace has it. */
  readonly source?: string
  readonly story: readonly StoryLine[]
}

/** `tidemark trace ID`: what happened under one trace id, or to the messages of one id, in order. */
export function traceVerb(ending: Ending): Command {
  return readingVerb('trace', 'the story of one trace, in order')
    .argument('<id>', 'a trace id; where nothing has it, the id of a message at its source')
    .action(async (id: string, flags: ReadingFlags) => {
      const { settings } = await databaseSetup(flags)
      const stories = await withDatabase(settings, (client) =>
        readOnly(client, settings, () => storiesOf(client, id)),
      )
      if (flags.json === true) printJson({ id, traces: stories })
      else for (const [i, story] of stories.entries()) printStory(id, story, i > 0)
      if (stories.length === 0)
        complain(`nothing has the trace id ${printable(id)}, and no message has it for its own id`)
      ending.code = stories.length > 0 ? EXIT.done : EXIT.failed
    })
}

async function storiesOf(client: Client, id: string): Promise<Story[]> {
  const story = await readTrace(client, id)
  if (story.length > 0) return [{ trace_id: id, story }]
  const stories: Story[] = []
  for (const { source, trace_id } of await tracesOf(client, id))
    stories.push({ trace_id, source, story: await readTrace(client, trace_id) })
  return stories
}

function printStory(asked: string, { trace_id: traceId, source, story }: Story, again: boolean): void {
  if (again) print()
  if (source !== undefined)
    print(`No trace has the id ${printable(asked)}; a message of ${source} has it, and this is its trace.`)
  const first = story.find(({ since_start_ms: ms }) => ms === 0)
  const since = first === undefined ? '' : `, since ${first.at.slice(0, 19).replace('T', ' ')} UTC`
  print(`${coloured('bold', `Trace ${traceId}`)}${since}`)
  const rows = story.map(({ since_start_ms: ms, what, who, detail }) => [
    `+${sinceStart(ms)}`,
    colouredWhat(what),
    printable(who ?? '-'),
    printable(detail ?? ''),
  ])
  print(table(['after', 'what', 'who', 'detail'], rows))
}

/** To the millisecond while that says something. */
function sinceStart(ms: number): string {
  return ms < 10_000 ? `${Math.round(ms)} ms` : span(ms / 1000)
}

const RED: ReadonlySet<string> = new Set(['dead', 'refused', 'job failed', 'job given up'])
const YELLOW: ReadonlySet<string> = new Set(['failed', 'interrupted', 'reclaimed'])
const GREEN: ReadonlySet<string> = new Set(['done', 'delivered', 'job done'])

function colouredWhat(what: string): string {
  if (RED.has(what)) return coloured('red', what)
  if (YELLOW.has(what) || what.endsWith(' not read')) return coloured('yellow', what)
  return GREEN.has(what) ? coloured('green', what) : what
}
