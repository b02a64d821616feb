import { Command } from 'commander'
import type { Client } from 'pg'
import {
  listMessages,
  showMessages,
  unknownIds,
  type ListedMessage,
  type MessageFilter,
  type MessagePage,
  type ShownMessage,
} from '../../tables/operator.ts'
import { readAttemptsOf, type MessageAttempt } from '../../tables/attempt.ts'
import { printable } from '../../kit/printable.ts'
import { span } from '../../kit/span.ts'
import { readOnly, withDatabase } from '../database.ts'
import { EXIT } from '../exitCodes.ts'
import { messageOf } from '../message.ts'
import { withProgress } from '../progress.ts'
import { coloured, complain, print, printJson, table } from '../terminal.ts'
import { databaseSetup, readingVerb, verb, type Ending, type ReadingFlags } from '../verb.ts'
import { changeMessages, DISCARD, RETRY, type Change } from './inbox/change.ts'
import {
  byIds,
  filterOf,
  isFiltered,
  readId,
  readLimit,
  withFilter,
  withIds,
  type FilterFlags,
} from './inbox/filter.ts'

/** Lines of one screen. */
const PAGE = 50

interface PageFlags extends ReadingFlags, FilterFlags {
  readonly limit: number
  readonly before?: string
  readonly payload?: true
}

interface ChangeFlags extends FilterFlags {
  readonly config?: string
  readonly limit?: number
  readonly all?: true
}

/** `tidemark inbox list|show|retry|discard`: what a person does with messages. */
export function inboxVerb(ending: Ending): Command {
  return new Command('inbox')
    .description('look at messages, try them again, or give them up')
    .addCommand(listVerb(ending))
    .addCommand(showVerb(ending))
    .addCommand(
      changeVerb('retry', 'put DEAD, FAILED and DISCARDED messages back, to be processed now', RETRY, ending),
    )
    .addCommand(changeVerb('discard', 'give up NEW, FAILED and DEAD messages for good', DISCARD, ending))
}

function pagedVerb(name: string, description: string): Command {
  return withFilter(readingVerb(name, description))
    .option('--limit <n>', 'messages at most', readLimit, PAGE)
    .option('--before <id>', 'older than this one', readId)
}

function listVerb(ending: Ending): Command {
  return pagedVerb('list', 'messages, newest first').action(async (flags: PageFlags) => {
    const { found, unknown } = await look(flags, listMessages)
    if (flags.json === true) printJson(found)
    else if (found.length > 0) printList(found, flags.limit)
    ending.code = codeOf(found.length, unknown)
  })
}

function showVerb(ending: Ending): Command {
  return withIds(
    pagedVerb('show', 'messages with every column, and what became of each attempt, newest first'),
  )
    .option('--payload', 'and with their payloads')
    .action(async (ids: readonly string[], asked: PageFlags, command: Command) => {
      const flags = byIds(asked, ids)
      refuseEverything(flags, command)
      const withPayload = flags.payload === true
      const { found, unknown, attempts } = await look(
        flags,
        (client, filter, page) => showMessages(client, filter, page, withPayload),
        attemptsOf,
      )
      const shown = found.map((message) => ({ message, attempts: attempts?.get(message.inbox_id) ?? [] }))
      if (flags.json === true) {
        const documents = shown.map((one) => wholeJson(one.message, attempts && one.attempts, withPayload))
        print(`[${documents.join(',')}]`)
      } else if (found.length > 0) {
        print(shown.map((one) => block(one.message, one.attempts, withPayload)).join('\n\n'))
      }
      ending.code = codeOf(found.length, unknown)
    })
}

function changeVerb(name: string, description: string, change: Change, ending: Ending): Command {
  return withIds(withFilter(verb(name, description)))
    .option('--limit <n>', 'messages at most, the oldest first', readLimit)
    .option('--all', 'every message, where no other flag says which')
    .action(async (ids: readonly string[], asked: ChangeFlags, command: Command) => {
      const flags = byIds(asked, ids)
      if (flags.all !== true) refuseEverything(flags, command, ', or --all for every one')
      const { settings } = await databaseSetup(flags)
      const request = { change, filter: filterOf(flags), limit: flags.limit ?? Number.POSITIVE_INFINITY }
      ending.code = await withProgress((progress) =>
        withDatabase(settings, (client) => changeMessages(client, settings, request, progress)),
      )
    })
}

/** Ends with a usage error where no flag says which messages. */
function refuseEverything(flags: FilterFlags, command: Command, otherwise = ''): void {
  if (isFiltered(flags)) return
  command.error(
    `error: say which messages: by their numbers, --source, --status, --trace, --error or --since${otherwise}`,
  )
}

/** `beside` reads what may be missing: what the messages themselves say is told without it. */
async function look<T, B = undefined>(
  flags: PageFlags,
  read: (client: Client, filter: MessageFilter, page: MessagePage) => Promise<T[]>,
  beside?: (client: Client, found: readonly T[]) => Promise<B>,
): Promise<{ found: T[]; unknown: string[]; attempts: B | undefined }> {
  const { settings } = await databaseSetup(flags)
  const filter = filterOf(flags)
  return withDatabase(settings, async (client) => {
    const { found, unknown } = await readOnly(client, settings, async () => ({
      found: await read(client, filter, { before: flags.before, limit: flags.limit }),
      unknown: filter.ids === undefined ? [] : await unknownIds(client, filter.ids),
    }))
    const attempts =
      beside && (await readOnly(client, settings, () => beside(client, found)).catch(sayUnread))
    return { found, unknown, attempts }
  })
}

function attemptsOf(client: Client, found: readonly ShownMessage[]): Promise<Map<string, MessageAttempt[]>> {
  return readAttemptsOf(
    client,
    found.map(({ inbox_id: id }) => id),
  )
}

function sayUnread(error: unknown): undefined {
  complain(`their attempts could not be read: ${messageOf(error)}`)
}

function codeOf(found: number, unknown: readonly string[]): number {
  for (const id of unknown) complain(`there is no message ${id}`)
  if (found === 0 && unknown.length === 0) complain('no message matches')
  return found > 0 && unknown.length === 0 ? EXIT.done : EXIT.failed
}

function printList(found: readonly ListedMessage[], limit: number): void {
  const rows = found.map((message) => [
    String(message.inbox_id),
    message.source,
    printable(message.message_id),
    colouredStatus(message.status),
    `${message.attempts} of ${message.max_attempts}`,
    span(message.age_seconds),
    printable(message.error ?? '-'),
  ])
  print(table(['id', 'source', 'message_id', 'status', 'attempts', 'age', 'error'], rows))
  const last = found.at(-1)
  if (found.length === limit && last !== undefined) {
    print(coloured('dim', `(${limit} shown; go on with --before ${last.inbox_id})`))
  }
}

function colouredStatus(status: ListedMessage['status']): string {
  if (status === 'DEAD') return coloured('red', status)
  return status === 'FAILED' ? coloured('yellow', status) : status
}

/**
 * The database's own text, since numbers in a payload may be larger than JavaScript's.
 * @param attempts undefined: they could not be read
 */
function wholeJson(
  { document, payload }: ShownMessage,
  attempts: readonly MessageAttempt[] | undefined,
  withPayload: boolean,
): string {
  const more = [`"message_attempts":${JSON.stringify(attempts ?? null)}`]
  if (withPayload) more.push(`"payload":${payload ?? 'null'}`)
  return `${document.slice(0, -1)},${more.join(',')}}`
}

function block(
  { document, payload }: ShownMessage,
  attempts: readonly MessageAttempt[],
  withPayload: boolean,
): string {
  // row_to_json of one row: an object with columns in their order; none of its numbers can outgrow JavaScript's.
  const columns = Object.entries(JSON.parse(document) as Record<string, string | number | boolean | null>)
  if (withPayload) columns.push(['payload', payload])
  const lines = columns.map(([name, value]) => line(name, value))
  if (attempts.length > 0) lines.push('', attemptTable(attempts))
  return lines.join('\n')
}

function attemptTable(attempts: readonly MessageAttempt[]): string {
  const rows = attempts.map(
    ({ attempt, outcome, instance_id: who, started_at: began, ended_at: ended, error }) => [
      String(attempt),
      coloured(outcome === 'dead' ? 'red' : 'yellow', outcome),
      printable(who),
      `${ended.slice(0, 19).replace('T', ' ')} UTC`,
      began === null ? 'not begun' : span((Date.parse(ended) - Date.parse(began)) / 1000),
      printable(error ?? '-'),
    ],
  )
  return table(['attempt', 'ended', 'instance', 'at', 'after', 'error'], rows)
}

/** Room for the longest name, `interruptions_in_a_row`. */
const NAME_WIDTH = 22

function line(name: string, value: string | number | boolean | null): string {
  return `${name.padEnd(NAME_WIDTH)}  ${value === null ? '-' : printable(String(value))}`
}
