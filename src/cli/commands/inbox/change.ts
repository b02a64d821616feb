import type { Client } from 'pg'
import type { Settings } from '../../../config/settings.ts'
import { announceInserted } from '../../../tables/inbox.ts'
import {
  countMessages,
  discardBatch,
  retryBatch,
  unknownIds,
  type Batch,
  type BatchBounds,
  type MessageCount,
  type MessageFilter,
  type Status,
} from '../../../tables/operator.ts'
import { readOnly, readWrite } from '../../database.ts'
import { EXIT } from '../../exitCodes.ts'
import { complain, print } from '../../terminal.ts'

/**
 * A retry or discard of many messages.
 *
 * First one look counts what the filter finds, by status: that is what the report of the messages left alone comes
 * from. Then batches in order of number, each a transaction of its own, so that no lock is held for long and nothing
 * done is lost when it is cut short: run it again, and it goes on with what is left. The status is compared under the
 * row lock: a message that was claimed since the look stays its owner's. At the end of a retry the processors of each
 * source are told once; a run that was killed before that costs them a second, their own look finds what waits.
 */

/** Messages in one statement: some tens of milliseconds of locks. */
const BATCH = 1_000

/** After this much silence a person wants to know that it still runs. */
const PROGRESS_EVERY_MS = 2_000

/** What can be done to messages. */
export interface Change {
  readonly done: string
  /** Statuses that are left alone, and why. */
  readonly leaves: Readonly<Partial<Record<Status, string>>>
  /** Whether what is changed must be told to the processors. */
  readonly wakes: boolean
  /** Whether messages that could not be read are left alone unless they are named. */
  readonly asksForUnread: boolean
  batch(client: Client, filter: MessageFilter, bounds: BatchBounds): Promise<Batch>
}

export const RETRY: Change = {
  done: 'put back, to be processed now',
  leaves: { NEW: 'waiting for its turn already', PROCESSING: 'in work', DONE: 'finished' },
  wakes: true,
  asksForUnread: true,
  batch: (client, filter, bounds) => retryBatch(client, filter, bounds, filter.ids !== undefined),
}

export const DISCARD: Change = {
  done: 'discarded',
  leaves: { PROCESSING: 'in work', DONE: 'finished', DISCARDED: 'discarded before' },
  wakes: false,
  asksForUnread: false,
  batch: discardBatch,
}

export interface ChangeRequest {
  readonly change: Change
  readonly filter: MessageFilter
  /** Messages at most. */
  readonly limit: number
}

/** Changes what matches and tells what was done and what was left alone; returns the exit code. */
export async function changeMessages(
  client: Client,
  settings: Settings,
  request: ChangeRequest,
): Promise<number> {
  const { change, filter, limit } = request
  const { ids } = filter
  const { counts, unknown } = await readOnly(client, settings, async () => ({
    counts: await countMessages(client, filter),
    unknown: ids === undefined ? [] : await unknownIds(client, ids),
  }))
  for (const id of unknown) complain(`there is no message ${id}`)
  const found = counts.reduce((sum, count) => sum + count.found, 0)
  if (found === 0) {
    if (unknown.length === 0) complain('no message matches')
    return EXIT.failed
  }
  const unread = change.asksForUnread ? counts.reduce((sum, count) => sum + count.unread, 0) : 0
  const open = counts.reduce(
    (sum, count) => sum + (change.leaves[count.status] === undefined ? count.found : 0),
    0,
  )
  const total = Math.min(limit, ids === undefined ? open - unread : open)
  const { changed, busy } = await runBatches(client, settings, request, total)

  print(`${messages(changed)} ${change.done}`)
  sayUnread(unread, ids !== undefined)
  if (busy > 0) print(`${messages(busy)} left alone: held by somebody else at that moment; run it again`)
  sayLeft(change, counts)
  if (changed >= limit && open > limit) print(`more match: ${limit} is the --limit`)
  return changed > 0 && unknown.length === 0 ? EXIT.done : EXIT.failed
}

interface Result {
  changed: number
  busy: number
}

async function runBatches(
  client: Client,
  settings: Settings,
  { change, filter, limit }: ChangeRequest,
  total: number,
): Promise<Result> {
  const result: Result = { changed: 0, busy: 0 }
  const sources = new Set<string>()
  let saidAt = performance.now()
  let after = '0'
  try {
    while (result.changed < limit) {
      const bounds = { after, limit: Math.min(BATCH, limit - result.changed) }
      const batch = await readWrite(client, settings, () => change.batch(client, filter, bounds))
      if (batch.last === null) break
      after = batch.last
      result.changed += batch.changed
      result.busy += batch.seen - batch.changed
      for (const source of batch.sources) sources.add(source)
      if (performance.now() - saidAt < PROGRESS_EVERY_MS) continue
      saidAt = performance.now()
      complain(`${result.changed} of ${total} …`)
    }
  } catch (error) {
    if (result.changed > 0) complain(`${messages(result.changed)} ${change.done} before it failed`)
    throw error
  } finally {
    // When the connection is what failed, the processors find them by their own look.
    if (change.wakes) await announce(client, sources).catch(() => undefined)
  }
  return result
}

async function announce(client: Client, sources: ReadonlySet<string>): Promise<void> {
  for (const source of sources) await announceInserted(client, source)
}

function sayUnread(unread: number, named: boolean): void {
  if (unread === 0) return
  const why = 'the source row could not be read, so the payload is null'
  if (named) print(`${messages(unread)} of them without a payload: ${why}, and null is what the handler gets`)
  else print(`${messages(unread)} left alone: ${why}; name each with --id to run it all the same`)
}

function sayLeft({ leaves }: Change, counts: readonly MessageCount[]): void {
  for (const { status, found } of counts) {
    const why = leaves[status]
    if (why !== undefined) print(`${messages(found)} left alone, ${status}: ${why}`)
  }
}

function messages(count: number): string {
  return `${count} ${count === 1 ? 'message' : 'messages'}`
}
