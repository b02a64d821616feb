/**
 * What a person is told before a replay: the rows of a range that the inbox has not, apart by what becomes of them without
 * one. Behind the edge no pass will read them; from the edge on the next one does. What is forgotten is so on either side.
 *
 * The edge is read once and passes go on meanwhile: a row that one takes in before it is looked at is simply not missing.
 */
import { PollerUnknown } from '../errors.ts'
import { splitRange } from '../tables/replayRange.ts'
import { findMissing } from './replay.ts'
import type { Missing, ReplayOptions, ReplayRange } from './replay.ts'

export interface ReplayLook extends Missing {
  /** Null: the poller has no watermark, and nothing waits for a pass that is known. */
  readonly edge: string | null
  /** From the edge on. */
  readonly waiting: number
  readonly firstWaiting: readonly string[]
}

/** The first of both, as many as one of them shows. */
const SHOWN = 10

/** Looks at a range and changes nothing. @throws PollerUnknown */
export async function lookAtRange(options: ReplayOptions, range: ReplayRange): Promise<ReplayLook> {
  const split = await splitRange(options.db, options.name, range)
  if (split === undefined) throw new PollerUnknown(options.name)
  const behind = await findMissing(options, { from: range.from, to: split.at })
  const onPage = (looked: number): void => options.onPage?.(behind.looked + looked)
  const ahead = await findMissing({ ...options, onPage }, { from: split.at, to: range.to })
  return {
    looked: behind.looked + ahead.looked,
    missing: behind.missing,
    firstMissing: behind.firstMissing,
    forgotten: behind.forgotten + ahead.forgotten,
    firstForgotten: [...behind.firstForgotten, ...ahead.firstForgotten].slice(0, SHOWN),
    forgottenBefore: ahead.forgottenBefore,
    edge: split.edge,
    waiting: ahead.missing,
    firstWaiting: ahead.firstMissing,
  }
}
