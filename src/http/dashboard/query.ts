import { STATUSES } from '../../tables/operator.ts'
import type { Status } from '../../tables/operator.ts'
import type { Search } from './search.ts'

/** What the address of the messages' page says. */
export interface MessagesQuery extends Search {
  /** As they were typed, for the form. */
  readonly typed: { readonly since: string; readonly until: string }
  /** Something of it cannot be used; nothing is looked for. */
  readonly fault: string | undefined
}

/** Longer than any id, key or trace that is stored. */
const TEXT_LENGTH = 1_000
const NUMBER = /^[1-9][0-9]{0,17}$/
/**
 * As a browser's field for date and time has it, or ISO 8601; without a zone it is UTC, as everything on the page. PostgreSQL
 * knows no zone past 15:59.
 */
const TIME = /^(\d{4}-\d{2}-\d{2})T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-](0\d|1[0-5]):?[0-5]\d)?$/
/** Beyond these, what is looked for around a time would have a year that PostgreSQL does not read. */
const EARLIEST = Date.UTC(1000, 0)
const LATEST = Date.UTC(9999, 0)

export function readMessagesQuery(url: string): MessagesQuery {
  const { searchParams: given } = new URL(url)
  const typed = { since: textOf(given, 'since') ?? '', until: textOf(given, 'until') ?? '' }
  const [since, until] = [timeOf(typed.since), timeOf(typed.until)]
  const statuses = STATUSES.filter((status) => given.getAll('status').includes(status))
  const sources = given
    .getAll('source')
    .map(storable)
    .filter((source) => source !== '')
  const below = textOf(given, 'below')
  return {
    text: textOf(given, 'q'),
    statuses: statuses.length === 0 ? undefined : (statuses satisfies readonly Status[]),
    sources: sources.length === 0 ? undefined : sources,
    groupKey: textOf(given, 'key'),
    error: textOf(given, 'error'),
    since: since ?? undefined,
    until: until ?? undefined,
    below: below !== undefined && NUMBER.test(below) ? below : undefined,
    typed,
    fault:
      since === null || until === null
        ? 'A time is written as 2026-03-01T08:00, in UTC, or with its zone.'
        : undefined,
  }
}

/** Undefined: none; null: not a time. */
export function timeOf(text: string): string | null | undefined {
  if (text === '') return undefined
  const found = TIME.exec(text)
  // What is of another form may be a time to Date.parse, which guesses.
  if (found === null) return null
  const [, day = '', , , zone] = found
  const zoned = zone === undefined ? `${text}Z` : text
  const [at, midnight] = [Date.parse(zoned), Date.parse(day)]
  // NaN is in no range. A day that there is not, 31 February, would be taken for another one, and refused by the database.
  const isTime = at >= EARLIEST && at < LATEST && new Date(midnight).toJSON().startsWith(day)
  return isTime ? zoned : null
}

/** PostgreSQL's texts have no NUL, and refuse a statement for it. */
function storable(text: string): string {
  return text.replaceAll('\0', '')
}

/** A field that was filled in. */
export function textOf(given: URLSearchParams, name: string): string | undefined {
  const text = storable((given.get(name) ?? '').trim()).slice(0, TEXT_LENGTH)
  return text === '' ? undefined : text
}

/** The address of the same question, `below` changed. */
export function pageBelow(url: string, below: string): string {
  const { pathname, searchParams } = new URL(url)
  searchParams.set('below', below)
  return `${pathname}?${searchParams.toString()}`
}
