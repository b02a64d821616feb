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
 * - *An insert is announced*: its tail is read between two pages, since whatever is read holds the watermark's row. It moves
 *   nothing that the pass goes by but the greatest cursor, up to which it skims, looking at what it has not seen.
 *
 * Each page is read in one of three ways, by what the page before has found: it looks for its rows in the inbox; does not,
 * where all were new; or skims over what the last completed pass has seen (window.ts). Each is right anywhere. Those of a
 * backlog, all new and of one size, are planned once on each connection: planning is a millisecond, of some ten for a page.
 */
import type { Pool, Queryable } from '../db/pool.ts'
import { beginPass, nextId, readPage, remakeWatermark, watermarkExists } from '../tables/watermark.ts'
import type { PageRead, PageText, PageWay, PassBegun, PassFence } from '../tables/watermark.ts'
import { inPass } from '../telemetry/spans.ts'
import { overRaces, pageOrSmaller } from './halving.ts'
import type { PageReader, RefusedRow } from './halving.ts'
import type { PreparedSource } from './sourceSql.ts'

export interface PassOptions {
  readonly db: Queryable & Partial<Pick<Pool, 'prepared' | 'replan'>>
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
  /** Rows came in, page by page; `late` of them behind the greatest cursor. */
  onInserted(rows: number, late: number): void
  onRefusedRow(reason: string, row: RefusedRow): void
  onRemade(edge: string): void
  onClockStepped(behindMs: number): void
  /** What was noted of living transactions is of another life of the server, and means nothing any more. */
  onOtherBoot?(): void
  /** Before each page but those that are all new, as the tail's rows would be: what is more urgent than it. Default: nothing is. */
  beforePage?(): Promise<void>
}

export interface PassResult {
  readonly outcome: 'completed' | 'interrupted' | 'fenced'
  readonly rowsRead: number
  readonly rowsInserted: number
  readonly lateRows: number
  readonly edge: string | null
  /** What pages took whose rows were nearly all known, in milliseconds. */
  readonly rereadMs: number
}

export function runPass(options: PassOptions): Promise<PassResult> {
  const { poller, term } = options.fence
  return inPass(
    poller,
    term,
    () => pagesOf(options),
    ({ outcome, rowsRead, rowsInserted, lateRows }) => ({
      'tidemark.outcome': outcome,
      'tidemark.rows_read': rowsRead,
      'tidemark.rows_inserted': rowsInserted,
      'tidemark.late_rows': lateRows,
    }),
  )
}

async function pagesOf(options: PassOptions): Promise<PassResult> {
  const total = { rowsRead: 0, rowsInserted: 0, lateRows: 0, edge: null as string | null, rereadMs: 0 }
  const begun = await begin(options)
  if (begun === undefined) return { outcome: 'fenced', ...total }
  const fence = { ...options.fence, pass: begun.pass }
  options.onBegun(begun.pass)
  if (begun.clock_behind_ms !== null) options.onClockStepped(Number(begun.clock_behind_ms))
  if (begun.other_boot) options.onOtherBoot?.()
  total.edge = begun.edge

  const { pageSize } = options
  const next: NextPage = { size: pageSize, way: 'page', reach: firstReach(pageSize), skims: begun.seen }
  const reader = readerOf(options, fence, next)
  for (;;) {
    if (next.way !== 'ahead') await options.beforePage?.()
    const askedAt = performance.now()
    const page = await pageOrSmaller(reader, next.size)
    const tookMs = performance.now() - askedAt
    if (page === 'too large') {
      next.size = Math.max(1, next.size >> 1)
      next.way = 'page'
      next.skims = false
      continue
    }
    if (page === undefined) {
      const outcome = (await watermarkExists(options.db, fence.poller)) ? 'fenced' : 'interrupted'
      return { outcome, ...total }
    }
    total.rowsRead += page.rows
    total.rowsInserted += page.inserted
    if (page.inserted > 0) options.onInserted(page.inserted, page.late)
    total.lateRows += page.late
    total.edge = page.edge
    if (isFew(next, page)) total.rereadMs += tookMs
    if (!page.more) return { outcome: 'completed', ...total }
    if (options.signal.aborted) return { outcome: 'interrupted', ...total }
    choose(next, page, options.pageSize, tookMs)
  }
}

/** How the next page is read. */
interface NextPage {
  size: number
  way: PageWay
  /** How far it walks when it skims. */
  reach: number
  /** There may be something to skim. */
  skims: boolean
}

/** Rows that a skim walks over at most, and at least however slow it is: 10 and 2 ms on an idle machine. */
const REACH_MOST = 20_000
const REACH_LEAST = 4_000

/** A skim that took longer is followed by shorter ones: what is announced meanwhile waits for its end. */
const SKIM_MOST_MS = 6

/** What follows a page that was all known is mostly known, too. */
const firstReach = (pageSize: number): number => Math.min(REACH_MOST, 8 * pageSize)

/** A page with fewer new rows than this share of it is followed by a skim. */
const FEW = 1 / 8

const isFew = ({ way }: NextPage, { inserted, rows }: PageRead): boolean =>
  way === 'skim' || inserted < rows * FEW

function choose(next: NextPage, page: PageRead, pageSize: number, tookMs: number): void {
  const few = isFew(next, page)
  if (next.way === 'skim') {
    next.skims = page.skims
    // A full one walked too far for what it could take.
    if (page.rows === page.inserted) next.reach = pageSize
    else if (tookMs > SKIM_MOST_MS) next.reach = Math.max(REACH_LEAST, next.reach >> 1)
    else next.reach = Math.min(REACH_MOST, next.reach * 2)
  }
  const isNew = next.way !== 'skim' && page.inserted === page.rows && page.rows === pageSize
  next.way = isNew ? 'ahead' : few && next.skims ? 'skim' : 'page'
  next.size = Math.min(pageSize, next.size * 2)
}

async function begin(options: PassOptions): Promise<PassBegun | undefined> {
  const { db, fence, slackMs, signal } = options
  const askedAt = performance.now()
  const open = (of: PassFence): Promise<PassBegun | undefined> => {
    // Each try is later than the one before, and what it is told with it.
    const later = performance.now() - askedAt
    const begunMs = options.begunMs === undefined ? undefined : options.begunMs + later
    return beginPass(db, of, slackMs, options.sinceMs + later, begunMs, options.source.window)
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

/** A page slower than this may have a plan from when the source was nearly empty, which reads it whole. */
const SLOW_MS = 100
const SLOW_ROW_MS = 0.1

function readerOf(options: PassOptions, fence: PassFence, next: NextPage): PageReader<PageRead> {
  const { db, source, maxAttempts, signal } = options
  let planned: PageText | undefined
  /** Pages ahead are of one size: they follow a full one. */
  async function ahead(size: number): Promise<PageRead | undefined> {
    planned ??= source.ahead(size)
    const startedAt = performance.now()
    const page = await readPage(db, planned, fence, size, maxAttempts, null)
    if (performance.now() - startedAt > SLOW_MS + size * SLOW_ROW_MS) db.replan?.()
    return page
  }
  return {
    db,
    poller: fence.poller,
    signal,
    page(size, alone) {
      if (alone === null && next.way === 'ahead') return ahead(size)
      if (alone === null && next.way === 'skim')
        return readPage(db, source.skim, fence, size, maxAttempts, null, next.reach)
      return readPage(db, source.page, fence, size, maxAttempts, alone)
    },
    refuse: (alone) => readPage(db, source.refuse, fence, 1, maxAttempts, alone),
    nextId: () => nextId(db, source.nextId, fence),
    onRefusedRow: (reason, row) => options.onRefusedRow(reason, row),
  }
}
