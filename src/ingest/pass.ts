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
 * - *A row cannot be read*: the page is halved until the row is alone, it is taken in as DEAD (halving.ts), and the pass
 *   goes on.
 * - *Told to stop*: the page at hand is finished, the rest is left to the next pass.
 */
import type { Queryable } from '../db/pool.ts'
import { beginPass, nextId, readPage, remakeWatermark, watermarkExists } from '../tables/watermark.ts'
import type { PageRead, PassBegun, PassFence } from '../tables/watermark.ts'
import { overRaces, pageOrSmaller } from './halving.ts'
import type { PageReader, RefusedRow } from './halving.ts'
import type { PreparedSource } from './sourceSql.ts'

export interface PassOptions {
  readonly db: Queryable
  readonly source: PreparedSource
  readonly fence: PassFence
  /** How far behind its commit a row's time may lie without losing it. */
  readonly slackMs: number
  /** How long ago the newest pass that was completed began, at most, in milliseconds. */
  readonly sinceMs: number
  /** How long ago this process began a pass last, completed or not, by its own clock. Undefined: another process did. */
  readonly begunMs?: number | undefined
  readonly pageSize: number
  readonly maxAttempts: number
  readonly signal: AbortSignal
  /** The pass number that stands in the row from now on, also when the pass fails later. */
  onBegun(pass: string): void
  /** Rows came in, page by page. */
  onInserted(rows: number): void
  onRefusedRow(reason: string, row: RefusedRow): void
  onRemade(edge: string): void
  onClockStepped(behindMs: number): void
  /** What was noted of living transactions is of another life of the server, and means nothing any more. */
  onOtherBoot?(): void
}

export interface PassResult {
  readonly outcome: 'completed' | 'interrupted' | 'fenced'
  readonly rowsRead: number
  readonly rowsInserted: number
  readonly lateRows: number
  readonly edge: string | null
}

export async function runPass(options: PassOptions): Promise<PassResult> {
  const total = { rowsRead: 0, rowsInserted: 0, lateRows: 0, edge: null as string | null }
  const begun = await begin(options)
  if (begun === undefined) return { outcome: 'fenced', ...total }
  const fence = { ...options.fence, pass: begun.pass }
  options.onBegun(begun.pass)
  if (begun.clock_behind_ms !== null) options.onClockStepped(Number(begun.clock_behind_ms))
  if (begun.other_boot) options.onOtherBoot?.()
  total.edge = begun.edge

  const reader = readerOf(options, fence)
  let size = options.pageSize
  for (;;) {
    const page = await pageOrSmaller(reader, size)
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
  const { db, fence, slackMs, signal } = options
  const askedAt = performance.now()
  const open = (of: PassFence): Promise<PassBegun | undefined> => {
    // Each try is later than the one before, and what it is told with it.
    const later = performance.now() - askedAt
    const begunMs = options.begunMs === undefined ? undefined : options.begunMs + later
    return beginPass(db, of, slackMs, options.sinceMs + later, begunMs)
  }
  const begun = await overRaces(signal, () => open(fence))
  if (begun !== undefined || (await watermarkExists(db, fence.poller))) return begun
  // A pass number that a forgotten statement of ours may still carry must not be used again.
  const remade = { ...fence, pass: (BigInt(fence.pass) + 1n).toString() }
  const made = await overRaces(signal, () => remakeWatermark(db, remade))
  if (made === undefined) return undefined
  options.onRemade(made.edge)
  return await overRaces(signal, () => open(remade))
}

function readerOf(options: PassOptions, fence: PassFence): PageReader<PageRead> {
  const { db, source, maxAttempts, signal } = options
  return {
    db,
    poller: fence.poller,
    signal,
    page: (size, alone) => readPage(db, source.page, fence, size, maxAttempts, alone),
    refuse: (alone) => readPage(db, source.refuse, fence, 1, maxAttempts, alone),
    nextId: () => nextId(db, source.nextId, fence),
    onRefusedRow: (reason, row) => options.onRefusedRow(reason, row),
  }
}
