/**
 * A replay: a range of the source is looked at, and what is not in the inbox is named or, when told to, taken in. It goes
 * by the time of the rows alone, whatever the watermark says; a row without a time is in no range (the sweep has it).
 *
 * What is older than `forgotten_before` and not in the inbox may have been processed and deleted: nobody can know. It is
 * counted apart and left out, unless the caller accepts that it may be processed a second time. Why what is left is never
 * taken in twice: ingest/sweep.ts. Cut short, it is simply begun again.
 */
import type { Queryable } from '../db/pool.ts'
import { missingPage, replayNextId, replayPage } from '../tables/replay.ts'
import type { ReplayPage, ReplayPosition, ReplayRange } from '../tables/replay.ts'
import type { AloneRow } from '../tables/watermark.ts'
import { PollerUnknown } from '../errors.ts'
import { pageOrSmaller } from './halving.ts'
import type { RefusedRow } from './halving.ts'
import type { PreparedSource } from './sourceSql.ts'

export type { ReplayRange } from '../tables/replay.ts'

export interface ReplayOptions {
  readonly db: Queryable
  readonly name: string
  readonly source: PreparedSource
  readonly pageSize: number
  /** After each page: the rows looked at so far. */
  onPage?(looked: number): void
}

/** What a range has that the inbox has not. */
export interface Missing {
  readonly looked: number
  readonly missing: number
  /** The first ten, in order of time. */
  readonly firstMissing: readonly string[]
  /** Older than `forgottenBefore`. */
  readonly forgotten: number
  readonly firstForgotten: readonly string[]
  /** Null: nothing was ever forgotten. */
  readonly forgottenBefore: string | null
}

const SHOWN = 10
const START: ReplayPosition = { scanTs: null, scanId: null }

/** Looks at a range and changes nothing. @throws PollerUnknown */
export async function findMissing(options: ReplayOptions, range: ReplayRange): Promise<Missing> {
  const { db, name, source, pageSize } = options
  const total = { looked: 0, missing: 0, forgotten: 0, forgottenBefore: null as string | null }
  const [firstMissing, firstForgotten]: [string[], string[]] = [[], []]
  let position = START
  for (;;) {
    const page = await missingPage(db, source.replay.missing, name, range, position, pageSize)
    if (page === undefined) throw new PollerUnknown(name)
    total.looked += page.rows
    total.missing += page.missing
    total.forgotten += page.forgotten
    total.forgottenBefore = page.forgottenBefore
    firstMissing.push(...page.firstMissing.slice(0, SHOWN - firstMissing.length))
    firstForgotten.push(...page.firstForgotten.slice(0, SHOWN - firstForgotten.length))
    options.onPage?.(total.looked)
    if (!page.more) return { ...total, firstMissing, firstForgotten }
    position = page
  }
}

export interface ApplyOptions extends ReplayOptions {
  readonly maxAttempts: number
  /** Takes in what may have been processed before, too. */
  readonly includeForgotten: boolean
  readonly signal: AbortSignal
  onRefusedRow(reason: string, row: RefusedRow): void
}

/** Takes in what a range has that the inbox has not; stops between two pages when told to. @throws PollerUnknown */
export async function replay(
  options: ApplyOptions,
  range: ReplayRange,
): Promise<{ looked: number; inserted: number; finished: boolean }> {
  const total = { looked: 0, inserted: 0 }
  let position = START
  let size = options.pageSize
  for (;;) {
    const page = await pageOrSmaller<ReplayPage>(readerOf(options, range, position), size)
    if (page === 'too large') {
      size = Math.max(1, size >> 1)
      continue
    }
    if (page === undefined) throw new PollerUnknown(options.name)
    total.looked += page.rows
    total.inserted += page.inserted
    options.onPage?.(total.looked)
    if (!page.more) return { ...total, finished: true }
    if (options.signal.aborted) return { ...total, finished: false }
    position = page
    size = Math.min(options.pageSize, size * 2)
  }
}

function readerOf(options: ApplyOptions, { from, to }: ReplayRange, position: ReplayPosition) {
  const { db, name, source, maxAttempts, includeForgotten, signal } = options
  const { page, refuse, nextId } = source.replay
  const range = { from, to, includeForgotten }
  return {
    db,
    poller: name,
    signal,
    page: (size: number, alone: AloneRow | null) =>
      replayPage(db, page, name, range, position, size, maxAttempts, alone),
    refuse: (alone: AloneRow) => replayPage(db, refuse, name, range, position, 1, maxAttempts, alone),
    nextId: () => replayNextId(db, nextId, name, range, position),
    onRefusedRow: (reason: string, row: RefusedRow) => options.onRefusedRow(reason, row),
  }
}
