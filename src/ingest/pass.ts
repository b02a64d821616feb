/**
 * One pass: begin, then pages from the edge to the newest row.
 *
 * The database owns the truth: position, edge and the right to write stand in the watermark row, and every statement
 * names holder, term and pass. This process only remembers the number of its pass.
 *
 * - *A statement is refused* (no row back): one look decides. The row is missing: it is made again under the present
 *   term and the pass begins anew. It is there: somebody else leads, the result is `fenced`.
 * - *A statement's answer is lost* (connection): the pass number may have been raised without our knowing. The next
 *   begin is then refused, and the leader steps down and stands again; nothing was lost, since rows and edge move in
 *   one transaction.
 * - *A row cannot be read* (not JSON, \u0000, too large, its id too long): the page is halved until the row is alone. It is then named and
 *   tried once more, since another row may have come before it meanwhile; the one that fails by name is taken in as
 *   DEAD, without payload and with the reason, and the pass goes on.
 * - *Told to stop*: the page at hand is finished, the rest is left to the next pass.
 */
import type { Queryable } from '../db/pool.ts'
import { isRetryable, sqlState } from '../db/sqlstate.ts'
import { pause } from '../kit/pause.ts'
import { refusedAs } from '../tables/inbox.ts'
import { MAX_ID_BYTES } from '../tables/messageId.ts'
import { beginPass, nextId, readPage, remakeWatermark, watermarkExists } from '../tables/watermark.ts'
import type { PageRead, PassBegun, PassFence } from '../tables/watermark.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { PreparedSource } from './sourceSql.ts'

export interface PassOptions {
  readonly db: Queryable
  readonly source: PreparedSource
  readonly fence: PassFence
  /** How far behind its commit a row's time may lie without losing it. */
  readonly slackMs: number
  /** How long ago the pass before this one began, in milliseconds of this process's clock. */
  readonly sinceMs: number
  readonly pageSize: number
  readonly maxAttempts: number
  readonly signal: AbortSignal
  /** The pass number that stands in the row from now on, also when the pass fails later. */
  onBegun(pass: string): void
  /** Rows came in, page by page. */
  onInserted(rows: number): void
  onRefusedRow(reason: string, row: { message_id: string; trace_id?: string }): void
  onRemade(edge: string): void
  onClockStepped(behindMs: number): void
}

export interface PassResult {
  readonly outcome: 'completed' | 'interrupted' | 'fenced'
  readonly rowsRead: number
  readonly rowsInserted: number
  readonly lateRows: number
  readonly edge: string | null
}

/** How often a statement that lost a race (deadlock, serialization, lock limit) is tried again before the pass fails. */
const RACE_TRIES = 5
const RACE_PAUSE_MS = 50

/** Of an id in a line when the inbox could not be asked under which it stands. */
const MAX_ID_SHOWN = 64

export async function runPass(options: PassOptions): Promise<PassResult> {
  const total = { rowsRead: 0, rowsInserted: 0, lateRows: 0, edge: null as string | null }
  const begun = await begin(options)
  if (begun === undefined) return { outcome: 'fenced', ...total }
  const fence = { ...options.fence, pass: begun.pass }
  options.onBegun(begun.pass)
  if (begun.clock_behind_ms !== null) options.onClockStepped(Number(begun.clock_behind_ms))
  total.edge = begun.edge

  let size = options.pageSize
  for (;;) {
    const page = await pageOrSmaller(options, fence, size)
    if (page === 'too large') {
      size = Math.max(1, size >> 1)
      continue
    }
    if (page === undefined) {
      const outcome = (await watermarkExists(options.db, fence.poller)) ? 'fenced' : 'interrupted'
      return { outcome, ...total }
    }
    total.rowsRead += page.rows
    total.rowsInserted += page.inserted
    if (page.inserted > 0) options.onInserted(page.inserted)
    total.lateRows += page.late
    total.edge = page.edge
    if (!page.more) return { outcome: 'completed', ...total }
    if (options.signal.aborted) return { outcome: 'interrupted', ...total }
    size = Math.min(options.pageSize, size * 2)
  }
}

async function begin(options: PassOptions): Promise<PassBegun | undefined> {
  const { db, fence, slackMs, sinceMs, signal } = options
  const begun = await overRaces(signal, () => beginPass(db, fence, slackMs, sinceMs))
  if (begun !== undefined || (await watermarkExists(db, fence.poller))) return begun
  // A pass number that a forgotten statement of ours may still carry must not be used again.
  const remade = { ...fence, pass: (BigInt(fence.pass) + 1n).toString() }
  const made = await overRaces(signal, () => remakeWatermark(db, remade))
  if (made === undefined) return undefined
  options.onRemade(made.edge)
  return await overRaces(signal, () => beginPass(db, remade, slackMs, sinceMs))
}

async function pageOrSmaller(
  options: PassOptions,
  fence: PassFence,
  size: number,
): Promise<PageRead | undefined | 'too large'> {
  const { db, source, maxAttempts, signal } = options
  try {
    return await overRaces(signal, () => readPage(db, source.page, fence, size, maxAttempts, null))
  } catch (error) {
    if (!isUnreadable(error)) throw error
    if (size > 1) return 'too large'
    const id = await overRaces(signal, () => nextId(db, source.nextId, fence))
    // It was deleted meanwhile, or the pass is over: the next page tells.
    return id === undefined ? 'too large' : await alone(options, fence, id)
  }
}

/** One row by its id, taken in as it is or, when it cannot be read, as DEAD. */
async function alone(options: PassOptions, fence: PassFence, id: string): Promise<PageRead | undefined> {
  const { db, source, maxAttempts, signal } = options
  try {
    return await overRaces(signal, () =>
      readPage(db, source.page, fence, 1, maxAttempts, { id, refusal: null }),
    )
  } catch (error) {
    if (!isUnreadable(error)) throw error
    const bytes = Buffer.byteLength(id)
    const tooLong = `its id has ${bytes} bytes, and ${MAX_ID_BYTES} are the most; it stands under the id's beginning and MD5`
    const refusal = bytes > MAX_ID_BYTES ? tooLong : cleanError(error).text
    const page = await overRaces(signal, () =>
      readPage(db, source.refuse, fence, 1, maxAttempts, { id, refusal }),
    )
    if (page !== undefined && page.inserted > 0) {
      // The row is in; only the line about it would lack its trace.
      const row = await refusedAs(db, fence.poller, id).catch(() => undefined)
      options.onRefusedRow(refusal, row ?? { message_id: id.slice(0, MAX_ID_SHOWN) })
    }
    return page
  }
}

/** Class 22 is data that cannot be what it should be, 54 what exceeds a limit of PostgreSQL's. */
function isUnreadable(error: unknown): boolean {
  const state = sqlState(error)
  return state !== undefined && (state.startsWith('22') || state.startsWith('54'))
}

/** A lost race is no fence: the same statement again. Each is a single autocommit statement, so nothing was written. */
async function overRaces<T>(signal: AbortSignal, statement: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await statement()
    } catch (error) {
      if (!isRetryable(error) || tries >= RACE_TRIES || signal.aborted) throw error
      await pause(RACE_PAUSE_MS * tries)
    }
  }
}
