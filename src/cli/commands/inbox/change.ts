import type { Client } from 'pg'
import type { Settings } from '../../../config/settings.ts'
import { amendAction, recordAction } from '../../../tables/control.ts'
import { announceInserted } from '../../../tables/inbox.ts'
import {
  countMessages,
  discardBatch,
  findCandidates,
  retryBatch,
  unknownIds,
  type Batch,
  type CandidateBounds,
  type MessageCount,
  type MessageFilter,
  type Status,
} from '../../../tables/operator.ts'
import { actHere } from '../../actor.ts'
import { readOnly, readWrite } from '../../database.ts'
import { EXIT } from '../../exitCodes.ts'
import type { Progress } from '../../progress.ts'
import { complain, grouped, print } from '../../terminal.ts'

/**
 * A retry or discard of many messages.
 *
 * First one look counts what the filter finds, by status: the report of the messages left alone comes from it. Then the
 * numbers of those that can be changed are read, many at once, and changed in batches in their order, each a transaction
 * of its own: no lock is held for long, and nothing done is lost when it is cut short. Run again, it goes on with what
 * is left. Filter and status are compared once more under the row lock: a message that was claimed since the look stays
 * its owner's. After a retry the processors of each source are told once; a run that was killed before that costs them
 * a second, since their own look finds what waits.
 */

/** Messages in one statement: some tens of milliseconds of locks. */
const BATCH = 1_000

/** Numbers read at once: a megabyte of them, and a filter that needs a walk over the whole inbox costs few of those. */
const CANDIDATES = 50_000

/** What can be done to messages. */
export interface Change {
  readonly verb: 'retry' | 'discard'
  readonly done: string
  readonly takes: readonly Status[]
  /** Statuses that are left alone, and why. */
  readonly leaves: Readonly<Partial<Record<Status, string>>>
  /** Whether what is changed must be told to the processors. */
  readonly wakes: boolean
  /** Whether messages that could not be read are left alone unless they are named. */
  readonly asksForUnread: boolean
  batch(client: Client, filter: MessageFilter, ids: readonly string[]): Promise<Batch>
}

export const RETRY: Change = {
  verb: 'retry',
  done: 'put back, to be processed now',
  takes: ['DEAD', 'FAILED', 'DISCARDED'],
  leaves: { NEW: 'waiting for its turn already', PROCESSING: 'in work', DONE: 'finished' },
  wakes: true,
  asksForUnread: true,
  batch: retryBatch,
}

export const DISCARD: Change = {
  verb: 'discard',
  done: 'discarded',
  takes: ['NEW', 'FAILED', 'DEAD'],
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
  progress: Progress,
): Promise<number> {
  const { change, filter, limit } = request
  progress.show(undefined, 'counting messages')
  const { ids } = filter
  const { counts, unknown } = await readOnly(client, settings, async () => ({
    counts: await countMessages(client, filter),
    unknown: ids === undefined ? [] : await unknownIds(client, ids),
  }))
  for (const id of unknown) progress.note(`there is no message ${id}`)
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
  const takes = ids === undefined ? open - unread : open
  const total = Math.min(limit, takes)
  const { changed, busy } = await runBatches(client, settings, request, total, progress)
  progress.end()

  print(`${messages(changed)} ${change.done}`)
  sayUnread(unread, ids !== undefined)
  if (busy > 0) print(`${messages(busy)} left alone: held by somebody else at that moment; run it again`)
  sayLeft(change, counts)
  if (changed >= limit && takes > limit) print(`more match: ${limit} is the --limit`)
  return changed > 0 && unknown.length === 0 ? EXIT.done : EXIT.failed
}

interface Result {
  changed: number
  busy: number
  /** Number of the run on record, once it has changed something. */
  action?: string | undefined
}

async function runBatches(
  client: Client,
  settings: Settings,
  request: ChangeRequest,
  total: number,
  progress: Progress,
): Promise<Result> {
  const { change, filter } = request
  const result: Result = { changed: 0, busy: 0 }
  const sources = new Set<string>()
  try {
    for await (const ids of candidates(client, settings, request, result)) {
      const { batch, action } = await readWrite(client, settings, async () => {
        await actHere(client)
        const batch = await change.batch(client, filter, ids)
        return { batch, action: await record(client, request, result, batch) }
      })
      result.action = action
      result.changed += batch.changed
      result.busy += ids.length - batch.changed
      for (const source of batch.sources) sources.add(source)
      const all = Math.max(1, result.changed, total)
      const step = `${change.verb}: ${grouped(result.changed)} of ${grouped(all)} messages`
      progress.show(result.changed / all, step)
    }
  } catch (error) {
    if (result.changed > 0) progress.note(`${messages(result.changed)} ${change.done} before it failed`)
    throw error
  } finally {
    // When the connection is what failed, the processors find them by their own look.
    if (change.wakes) await announce(client, sources).catch(() => undefined)
  }
  return result
}

/** One action a run, whose count is of the same transaction as each batch. */
async function record(
  client: Client,
  { change, filter, limit }: ChangeRequest,
  { action, changed }: Readonly<Result>,
  batch: Batch,
): Promise<string | undefined> {
  if (batch.changed === 0) return action
  const messages = changed + batch.changed
  if (action !== undefined) {
    await amendAction(client, action, { messages })
    return action
  }
  const [id, ...others] = filter.ids ?? []
  const target = id !== undefined && others.length === 0 ? `inbox ${id}` : 'inbox'
  const bounds = Number.isFinite(limit) ? { limit } : {}
  return recordAction(client, change.verb, target, { ...filter, ...bounds, messages })
}

/** Numbers of messages to change, a batch at a time, never more than are still allowed by the limit. */
async function* candidates(
  client: Client,
  settings: Settings,
  { change, filter, limit }: ChangeRequest,
  result: Readonly<Result>,
): AsyncGenerator<string[]> {
  const unread = !change.asksForUnread || filter.ids !== undefined
  let after: string | undefined = '0'
  while (after !== undefined && result.changed < limit) {
    const bounds: CandidateBounds = {
      after,
      limit: Math.min(CANDIDATES, limit - result.changed),
      statuses: change.takes,
      unread,
    }
    const found: string[] = await readOnly(client, settings, () => findCandidates(client, filter, bounds))
    for (let i = 0; i < found.length; i += BATCH) yield found.slice(i, i + BATCH)
    after = found.at(-1)
  }
}

async function announce(client: Client, sources: ReadonlySet<string>): Promise<void> {
  for (const source of sources) await announceInserted(client, source)
}

function sayUnread(unread: number, named: boolean): void {
  if (unread === 0) return
  const why = 'the source row could not be read, so the payload is null'
  if (named) print(`${unread} of them without a payload: ${why}, and null is what the handler gets`)
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
