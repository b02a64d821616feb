/**
 * The sweep: every row of the source below the edge and not forgotten is looked at again, and what is missing from the
 * inbox is taken in. It assumes nothing about time, and so finds what the proof of a pass cannot promise: rows dated by
 * clients' clocks, backfills, rows without a time.
 *
 * States of one: *under way* (first the rows without a time, then the others by time and id), *through*. The row in
 * `poll_sweep` owns the position; a page reads from it, inserts and moves it in one statement. Anybody may sweep, nobody
 * leads: rows are taken in by UNIQUE (source, message_id), and nothing is written to the watermark.
 *
 * *Why nothing is taken in twice, although retention deletes.* Retention first raises `forgotten_before`, then deletes what
 * is finished and older. Every statement that takes rows in (pages of passes, sweeps, replays) locks the row with that bound
 * FOR KEY SHARE, then reads the bound, inserts nothing older, and keeps the lock to its end; who raises takes it FOR UPDATE.
 * So while a statement inserts, the bound stands still, and of the rows at or above it none was ever deleted: each is in
 * the inbox, where UNIQUE refuses it whatever the statement's snapshot saw, or was never taken in. A plain read would not do:
 * the statement may be older than the raise and wait for a lock (or its process be frozen) while the row that it found
 * missing is taken in by another, processed, and, with a retention shorter than that wait, deleted. Nor would the value that
 * comes with the lock: KEY SHARE gives the row as the snapshot has it (measured), so the bound is read by a function with
 * a snapshot of its own. FOR SHARE would give the newest, but wait for every pause and registration, and they for it.
 * tests/ingest/forgotten.test.ts plays these races, with the lock and without.
 *
 * - *Another begins to sweep* (this one was frozen and its job ran out): the number of its turn refuses every later
 *   statement of this one. A page that waited for the row lock has an old snapshot, so it is refused too.
 * - *The process dies*: the next one goes on from the position; the page at hand was one transaction.
 * - *A row is written behind the position*: the next sweep has it. One that is asked for while a sweep is under way (the clock
 *   stepped back, the server lives another life, a watermark was made again) follows that at once.
 * - *The poller is paused*: nothing is taken in; its sweep goes on where it was when it is resumed.
 * - *A row cannot be read*: it is taken in as DEAD (halving.ts).
 * - *Retention moves past the position*: the sweep goes on at the new bound. Below it nobody looks; `tidemark replay` lists it.
 * - *The poller has no watermark or no row in background_task*: nothing is known of edge or bound, so nothing is taken in.
 */
import type { Queryable } from '../db/pool.ts'
import { beginSweep, isSweepAsked, sweepNextId, sweepPage } from '../tables/sweep.ts'
import type { SweepPage, SweepTurn } from '../tables/sweep.ts'
import type { Walk } from '../tables/takeIn.ts'
import type { Log } from '../telemetry/log.ts'
import { overRaces, pageOrSmaller } from './halving.ts'
import type { RefusedRow } from './halving.ts'
import type { PreparedSource } from './sourceSql.ts'

export interface SweepOptions {
  readonly db: Queryable
  readonly name: string
  readonly source: PreparedSource
  readonly pageSize: number
  readonly maxAttempts: number
  readonly log: Pick<Log, 'event'>
  readonly signal: AbortSignal
  /** How long to go on at once, in milliseconds. Default: 20 s. */
  readonly sliceMs?: number
  /** Rows came in, page by page. */
  onInserted(rows: number): void
}

/** How a slice ended: what is left is for the next slice; `again`: through, and another was asked for meanwhile; `refused`: another sweeps,
 * the poller is paused, or its rows are not there. */
export type SweepEnd = 'through' | 'again' | 'under way' | 'refused'

/** A third of what a duty of upkeep may take, so that no slice runs into its end. */
const SLICE_MS = 20_000

/** Goes on with the poller's sweep, or begins one, for one slice of time. */
export async function sweep(options: SweepOptions): Promise<SweepEnd> {
  const { db, name, source, signal, sliceMs = SLICE_MS } = options
  const until = performance.now() + sliceMs
  const finds = new Finds()
  const begun = await overRaces(signal, () => beginSweep(db, name, source.canBeUndated))
  if (begun === undefined) return 'refused'
  let turn: SweepTurn = begun
  let size = options.pageSize
  try {
    for (;;) {
      const page = await pageOrSmaller(readerOf(options, turn), size)
      if (page === 'too large') {
        size = Math.max(1, size >> 1)
        continue
      }
      if (page === undefined) return 'refused'
      if (page.inserted > 0) {
        finds.add(page, turn.undated)
        options.onInserted(page.inserted)
      }
      if (!page.more) {
        sayThrough(options, page)
        // Asked now, and not with the last page: who asks meanwhile finds no job to bring forward.
        return (await isSweepAsked(db, name)) ? 'again' : 'through'
      }
      if (signal.aborted || performance.now() >= until) return 'under way'
      turn = page
      size = Math.min(options.pageSize, size * 2)
    }
  } finally {
    finds.say(options)
  }
}

function readerOf(options: SweepOptions, { turn, undated }: SweepTurn) {
  const { db, name, source, maxAttempts, log, signal } = options
  const walk: Walk = undated ? 'undated' : 'dated'
  const { page, refuse, nextId } = source.sweep
  return {
    db,
    poller: name,
    signal,
    page: (size: number, alone: Parameters<typeof sweepPage>[6]) =>
      sweepPage(db, page[walk], name, turn, size, maxAttempts, alone),
    refuse: (alone: Parameters<typeof sweepPage>[6]) =>
      sweepPage(db, refuse[walk], name, turn, 1, maxAttempts, alone),
    nextId: () => sweepNextId(db, nextId[walk], name, turn),
    onRefusedRow: (reason: string, row: RefusedRow) =>
      log.event('row_refused', `${name}: a row could not be read and was taken in as DEAD: ${reason}`, {
        poller: name,
        reason,
        ...row,
      }),
  }
}

/** What a slice found, said in one line however many pages it was. */
class Finds {
  #rows = 0
  #undated = 0
  #oldest: string | null = null
  #example: string | null = null

  add(page: SweepPage, undated: boolean): void {
    this.#rows += page.inserted
    if (undated) this.#undated += page.inserted
    // Pages go up in time: the first one that has a time has the oldest.
    this.#oldest ??= page.oldest
    this.#example ??= page.example
  }

  say({ name, log, source }: SweepOptions): void {
    if (this.#rows === 0) return
    const [rows, undated] = [this.#rows, this.#undated]
    const dated =
      'their times were older than the edge when they were committed: let the database set the time (DEFAULT now()), ' +
      'or give `source.lateness` in the config; or `source.where` has become wider'
    const timeless = `without a time: ${undated}; let the column have a default and NOT NULL`
    const why = [...(rows > undated ? [dated] : []), ...(undated > 0 ? [timeless] : [])].join('; ')
    const oldest = this.#oldest === null ? '' : `, the oldest from ${this.#oldest}`
    const msg = `${name}: the sweep found ${rows} rows of ${source.table} that no pass had taken in${oldest}, such as ${this.#example ?? ''}; they are in the inbox now; ${why}`
    log.event('sweep_found', msg, {
      poller: name,
      rows,
      undated,
      oldest: this.#oldest,
      example: this.#example,
    })
  }
}

function sayThrough({ name, log }: SweepOptions, page: SweepPage): void {
  const { looked, found, low, high, sinceMs } = page
  const below = low === '-infinity' ? '' : `; what is older than ${low} is forgotten and was not looked at`
  const msg = `${name}: the sweep looked at ${looked} rows up to ${high} and found ${found} missing${below}`
  log.event('sweep_completed', msg, {
    poller: name,
    rows_read: looked,
    found,
    from: low,
    to: high,
    duration_ms: Math.round(sinceMs),
  })
}
