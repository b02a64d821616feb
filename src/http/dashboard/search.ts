/**
 * Which messages a page shows, in bounded time whatever the inbox holds:
 *
 * - A trace, a message id or a number is looked up by its index.
 * - FAILED and DEAD alone are in the small index of what waits. NEW and PROCESSING are there, too, or above the low-water mark,
 *   and so are found without a look at what is finished.
 * - Everything else is a walk down the primary key, from where the time that was asked for begins (walk.ts).
 *
 * When more wait than are worth looking at, they are no longer few among many, and the walk finds them.
 */
import type { Queryable } from '../../db/pool.ts'
import {
  findMessages,
  inboxSources,
  numberAt,
  waitingMessages,
  walkMessages,
} from '../../tables/dashboardMessages.ts'
import type { BrowsedMessage, BrowseFilter } from '../../tables/dashboardMessages.ts'
import type { Status } from '../../tables/operator.ts'
import { TOP, walk } from './walk.ts'
import type { Found } from './walk.ts'

export interface Search extends BrowseFilter {
  /** A trace, a message id or a number. */
  readonly text?: string | undefined
  /** Only older ones than this number. */
  readonly below?: string | undefined
}

export const PAGE = 50
/** So many that wait are looked at. */
const WAITING_LOOK = 20_000
const IN_WAITING_ALONE: readonly Status[] = ['FAILED', 'DEAD']
const OPEN: readonly Status[] = ['NEW', 'PROCESSING', 'FAILED', 'DEAD']
/**
 * Numbers are given when a row is written and times when its transaction began: this much around a time is looked at as well.
 * Pages and intake write within half a minute.
 */
const AROUND_MS = 120_000

export async function search(db: Queryable, asked: Search): Promise<Found<BrowsedMessage>> {
  const { text, below = TOP, statuses } = asked
  if (text !== undefined) return pageOf(await findMessages(db, asked, text, { below, limit: PAGE + 1 }))
  const isOf = (set: readonly Status[]): boolean =>
    statuses !== undefined && statuses.length > 0 && statuses.every((status) => set.includes(status))
  if (!isOf(OPEN)) return walked(db, asked, below, await floorOf(db, asked))

  const waiting = await waitingMessages(db, asked, { below, limit: PAGE + 1, look: WAITING_LOOK })
  if (waiting.many) return walked(db, asked, below, await floorOf(db, asked))
  if (isOf(IN_WAITING_ALONE)) return pageOf(waiting.rows)
  const floor = greater(await lowOf(db, asked), await floorOf(db, asked))
  return merged(await walked(db, asked, below, floor), waiting.rows)
}

async function walked(
  db: Queryable,
  asked: Search,
  below: string,
  floor: string,
): Promise<Found<BrowsedMessage>> {
  return walk({
    below: asked.until === undefined ? below : lesser(below, await above(db, asked.until)),
    floor,
    limit: PAGE,
    step: (step) => walkMessages(db, asked, step),
    idOf,
  })
}

async function above(db: Queryable, until: string): Promise<string> {
  return numberAt(db, new Date(Date.parse(until) + AROUND_MS).toISOString())
}

async function floorOf(db: Queryable, { since }: Search): Promise<string> {
  return since === undefined ? '0' : numberAt(db, new Date(Date.parse(since) - AROUND_MS).toISOString())
}

/** At or below it nothing fresh of these sources is open. */
async function lowOf(db: Queryable, { sources }: Search): Promise<string> {
  const known = (await inboxSources(db)).filter(({ source }) => sources?.includes(source) ?? true)
  return known.reduce((least, { low }) => lesser(least, low), known.length === 0 ? '0' : TOP)
}

/** What was walked over, and of what waits that which lies in between; what lies below is for the next page. */
function merged(found: Found<BrowsedMessage>, waiting: readonly BrowsedMessage[]): Found<BrowsedMessage> {
  const reached = Number(found.below ?? 0)
  const byId = new Map(
    [...waiting.filter((row) => row.inbox_id >= reached), ...found.rows].map((row) => [row.inbox_id, row]),
  )
  const rows = [...byId.values()].toSorted((one, other) => other.inbox_id - one.inbox_id)
  if (rows.length <= PAGE) return { ...found, rows }
  const shown = rows.slice(0, PAGE)
  return { rows: shown, below: lastOf(shown), cut: false }
}

function pageOf(rows: readonly BrowsedMessage[]): Found<BrowsedMessage> {
  const shown = rows.slice(0, PAGE)
  return { rows: shown, below: rows.length > PAGE ? lastOf(shown) : undefined, cut: false }
}

function lastOf(rows: readonly BrowsedMessage[]): string | undefined {
  const last = rows.at(-1)
  return last === undefined ? undefined : String(last.inbox_id)
}

const idOf = ({ inbox_id: id }: BrowsedMessage): number => id
const lesser = (one: string, other: string): string => (BigInt(one) < BigInt(other) ? one : other)
const greater = (one: string, other: string): string => (BigInt(one) > BigInt(other) ? one : other)
