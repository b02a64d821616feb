import { InvalidArgumentError, type Command } from 'commander'
import { parseDuration } from '../../../config/durations.ts'
import { STATUSES, type MessageFilter, type Status } from '../../../tables/operator.ts'
import { readTime } from '../../poller.ts'

/** Flags that say which messages. */
export interface FilterFlags {
  readonly status?: readonly Status[]
  readonly source?: readonly string[]
  readonly id?: readonly string[]
  readonly trace?: string
  readonly error?: string
  readonly since?: string | number
}

/** Gives a verb the flags that say which messages. */
export function withFilter(command: Command): Command {
  return command
    .option(
      '--status <status>',
      `one or several of ${STATUSES.join(', ')} (a list with commas)`,
      readStatuses,
    )
    .option(
      '--source <name>',
      'that came by this poller or intake (or by one of a list with commas)',
      readList,
    )
    .option('--id <id>', 'with this number, as `inbox list` shows it (or one of a list with commas)', readIds)
    .option('--trace <id>', 'of this trace')
    .option('--error <class>', 'whose newest failure has this class or SQLSTATE: TypeError, 23505')
    .option(
      '--since <time>',
      "taken in since then: 2026-03-01T08:00:00Z, or '2h' for the last two hours",
      readSince,
    )
}

/** Gives a verb their numbers as arguments, which say the same as `--id`. */
export function withIds(command: Command): Command {
  return command.argument('[ids...]', 'their numbers, as `inbox list` shows them', readIds)
}

/** The flags, with what was said by arguments. */
export function byIds<F extends FilterFlags>(flags: F, ids: readonly string[]): F {
  return ids.length === 0 ? flags : { ...flags, id: [...(flags.id ?? []), ...ids] }
}

export function filterOf({ status, source, id, trace, error, since }: FilterFlags): MessageFilter {
  return { statuses: status, sources: source, ids: id, trace, error, since }
}

/** Whether the flags leave anything out. */
export function isFiltered(flags: FilterFlags): boolean {
  return Object.values(filterOf(flags)).some((value) => value !== undefined)
}

/** A count from 1 on that PostgreSQL's integer can hold. */
export function readLimit(text: string): number {
  const limit = Number(text)
  if (!/^\d+$/.test(text) || limit < 1 || limit > 2_147_483_647) {
    throw new InvalidArgumentError('It is a whole number from 1 on.')
  }
  return limit
}

/** Text of an `inbox_id`: bigint, so it is never made a number. */
export function readId(text: string): string {
  if (!/^\d{1,18}$/.test(text.trim())) {
    throw new InvalidArgumentError('It is a number, as `tidemark inbox list` shows it.')
  }
  return text.trim()
}

/** A flag that is given twice adds to what it said before. */
const readIds = (text: string, before: readonly string[] = []): string[] => [
  ...before,
  ...splitList(text).map(readId),
]

const readList = (text: string, before: readonly string[] = []): string[] => [...before, ...splitList(text)]

function splitList(text: string): string[] {
  const entries = text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
  // An empty list would match nothing, and an empty variable in a script is a mistake.
  if (entries.length === 0) throw new InvalidArgumentError('It is empty.')
  return entries
}

function readStatuses(text: string, before: readonly Status[] = []): Status[] {
  const statuses = splitList(text).map((word) => {
    const status = STATUSES.find((known) => known === word.toUpperCase())
    if (status === undefined) {
      throw new InvalidArgumentError(`${word} is none of ${STATUSES.join(', ')}.`)
    }
    return status
  })
  return [...before, ...statuses]
}

function readSince(text: string): string | number {
  const agoMs = parseDuration(text)
  if (agoMs !== undefined) return agoMs
  try {
    return readTime(text)
  } catch {
    throw new InvalidArgumentError(
      `It is a time with its zone, such as 2026-03-01T08:00:00Z, or a duration such as 30m, 2h or 7d.`,
    )
  }
}
