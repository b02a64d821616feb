/**
 * The poller: one pass after another, for as long as a lease lasts.
 *
 * States: *waiting* for the next tick, *in a pass*, *failed* (waiting before the pass is tried again). The database owns
 * the truth; the ledger `poll_run` tells what became of each pass.
 *
 * - *A pass is refused*: somebody else leads. The lease is told so, and the poller leaves.
 * - *A pass fails* (database away, source locked, permission lost): said once per failure with its class, tried again
 *   with backoff while the lease lasts, and at once when the database is back, however long the backoff has grown.
 *   Nothing is lost: the edge only moves with the rows.
 * - *The election opened no pass*: the poller's row in `background_task` is lost, and every pass would be refused. That is
 *   an error, which ends the lease; runner/work.ts enters the row again for the next one.
 * - *It is paused*: the page at hand is finished, and what falls due ends without a pass; the lease is kept. The ledger
 *   has one `missed` for all of them, and the first pass after the pause reads what came in meanwhile.
 * - *The lease ends* (hand-over, lost): the page at hand is finished, nothing else is begun.
 * - *An insert was announced*: the tail of the source is read first, and a pass follows (tail.ts). While a pass is made, the tail
 *   is read before its next page.
 */
import type { MayPrepare } from '../db/pool.ts'
import { isConnectionError } from '../db/sqlstate.ts'
import { PermissionMissing } from '../errors.ts'
import { backoffMs } from '../kit/backoff.ts'
import { pause } from '../kit/pause.ts'
import { explainPassDenied } from '../tables/permission.ts'
import type { PollRun } from '../tables/pollRun.ts'
import type { PassFence } from '../tables/watermark.ts'
import { cleanError, cleanText } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { ledgerOf, recordPassed } from './ledger.ts'
import { runPass } from './pass.ts'
import type { PassResult } from './pass.ts'
import { passLog } from './passLog.ts'
import type { PassLog } from './passLog.ts'
import type { PreparedSource } from './sourceSql.ts'
import { Tails } from './tail.ts'
import type { DuePass, Tick } from './tick.ts'

/** The right to poll, as leadership grants it. */
export interface PollerLease {
  readonly holder: string
  readonly term: string
  readonly pass: string | null
  readonly createdEdge: string | null
  readonly signal: AbortSignal
  refused(what: string): void
}

export interface PollerOptions {
  readonly db: MayPrepare
  readonly name: string
  readonly source: PreparedSource
  readonly tick: Tick
  /** Why no pass may be made although this instance leads, in words for the ledger; undefined: it may. Default: it may. */
  readonly held?: () => string | undefined
  readonly slackMs: number
  readonly everyMs: number
  readonly pageSize: number
  /** Attempts that a message of this source has, unless its processor says otherwise when it claims. */
  readonly maxAttempts: number
  readonly instanceId: string
  readonly log: Log
  /** Rows came in, `late` of them behind the greatest cursor: whoever processes them may look. */
  onInserted(rows: number, late: number): void
  /** A due pass came to this in the ledger. */
  onRun?(outcome: PollRun['outcome']): void
  /** Something that passes rely on did not hold: rows may lie where none of them looks. */
  onDoubt?(reason: string): void
}

/** What the poller knows of itself, for `/health` and metrics. */
export interface PollerState {
  /** When the newest completed pass began, by the monotonic clock. */
  readonly lastPassAt: number | undefined
  readonly lastCause: DuePass['cause'] | undefined
  readonly failuresInARow: number
}

/** Where a leader is, between two passes. */
interface Position {
  pass: string
  readonly leadsSince: number
  /** When its newest completed pass began, by the monotonic clock. */
  lastBeganAt: number | undefined
  /** When it began a pass last, completed or not. */
  begunAt: number | undefined
  /** The ledger has the passes that the present pause keeps from being made. */
  heldSaid: boolean
  readonly tails: Tails
  readonly told: PassLog
}

export interface Poller {
  readonly name: string
  readonly state: PollerState
  readonly lead: (lease: PollerLease) => Promise<void>
  /** The database is back: a pass that failed is tried again at once. */
  wake(): void
  /** `held` says so from now on: a pass under way ends with its page. */
  hold(): void
}

/** A pass that began this much after it was due is called late in the ledger. */
const LATE_MS = 3_000

/** How long ago the pass before a leader's first one may have begun, at most, besides two intervals: a takeover and a margin. */
const UNKNOWN_PASS_MS = 30_000

const RETRY = { baseMs: 500, maxMs: 10_000 }

/** A database that was away is to be used again soon after its return. */
const RETRY_AWAY_MS = 2_000

export function createPoller(options: PollerOptions): Poller {
  const { db, name, log, tick, held = () => undefined } = options
  const state = { lastPassAt: undefined, lastCause: undefined, failuresInARow: 0 } as {
    -readonly [K in keyof PollerState]: PollerState[K]
  }

  let rouse = new AbortController()
  /** Ends the pass under way with its page. */
  let holding = new AbortController()

  const record = ledgerOf(db, name, options.instanceId, (outcome) => options.onRun?.(outcome))

  async function completed(due: DuePass, result: PassResult, startedAt: number, term: string): Promise<void> {
    const durationMs = Math.round(performance.now() - startedAt)
    const lateMs = Date.now() - durationMs - due.dueAt.getTime()
    const outcome = due.cause === 'backstop' ? 'backstop' : lateMs > LATE_MS ? 'late' : 'ran'
    const { rowsRead, rowsInserted, lateRows, edge } = result
    state.lastPassAt = startedAt
    state.lastCause = due.cause
    state.failuresInARow = 0
    // Of the looks of a poller that inserts wake, those that found something are passes to remember.
    if (due.cause === 'wake' && rowsInserted === 0) return
    await recordPassed(record, due, startedAt, term)
    await record(due, startedAt, term, { outcome, rowsRead, rowsInserted, lateRows, edge })
    log.event('poll_completed', `${name}: ${rowsInserted} new of ${rowsRead} read`, {
      poller: name,
      rows_read: rowsRead,
      rows_inserted: rowsInserted,
      late_rows: lateRows,
      duration_ms: durationMs,
      edge,
      outcome,
    })
  }

  async function failed(due: DuePass, error: unknown, startedAt: number, lease: PollerLease): Promise<void> {
    // Taken before anything is awaited: the database may be back while the failure is being recorded.
    const { signal: roused } = rouse
    state.failuresInARow += 1
    const explained = await explainPassDenied(db, error, options.source.table)
    const { class: errorClass, text: cut } = cleanError(explained)
    // Our own text ends with the remedy, which must not be cut off.
    const text = explained instanceof PermissionMissing ? cleanText(explained.message) : cut
    const maxMs = isConnectionError(error) ? RETRY_AWAY_MS : RETRY.maxMs
    const nextTryMs = Math.round(backoffMs(state.failuresInARow, { ...RETRY, maxMs }))
    log.event('poll_failed', `${name}: the pass failed: ${text}; next try in ${nextTryMs} ms`, {
      poller: name,
      class: errorClass,
      text,
      duration_ms: Math.round(performance.now() - startedAt),
      next_try_ms: nextTryMs,
    })
    await record(due, startedAt, lease.term, { outcome: 'failed', error: `${errorClass}: ${text}` })
    await pause(nextTryMs, AbortSignal.any([lease.signal, roused]))
  }

  /** A tick that cannot be settled now (database away) is made up for by the next one: no tick is load-bearing. */
  async function settle(due: DuePass, result: Parameters<DuePass['done']>[0]): Promise<void> {
    await due.done(result).catch(() => undefined)
  }

  /** Says once for a pause that passes fall due and are not made. */
  async function missed(
    due: DuePass,
    term: string,
    position: Position,
    run: Partial<PollRun>,
  ): Promise<void> {
    // It does not stand still, it waits.
    state.lastPassAt = undefined
    state.failuresInARow = 0
    if (!position.heldSaid) await record(due, performance.now(), term, { outcome: 'missed', ...run })
    position.heldSaid = true
    await settle(due, { ok: true, held: true })
  }

  function fenceOf({ holder, term }: PollerLease, { pass }: Position): PassFence {
    return { poller: name, holder, term, pass }
  }

  async function tail(due: DuePass, lease: PollerLease, position: Position): Promise<void> {
    // The number of the pass that stands in the row by now.
    await settle(due, { ok: true, ...(await position.tails.read(fenceOf(lease, position))) })
  }

  function pass(due: DuePass, lease: PollerLease, position: Position): Promise<PassResult> {
    const fence = fenceOf(lease, position)
    const askedAt = performance.now()
    return runPass({
      db,
      source: options.source,
      fence,
      slackMs: options.slackMs,
      sinceMs:
        position.lastBeganAt === undefined
          ? UNKNOWN_PASS_MS + 2 * options.everyMs + (askedAt - position.leadsSince)
          : askedAt - position.lastBeganAt,
      begunMs: position.begunAt === undefined ? undefined : askedAt - position.begunAt,
      pageSize: options.pageSize,
      maxAttempts: options.maxAttempts,
      signal: AbortSignal.any([lease.signal, holding.signal]),
      onBegun: (begun) => {
        position.pass = begun
        position.begunAt = askedAt
      },
      onInserted: (rows, late) => options.onInserted(rows, late),
      beforePage: async () => {
        const urgent = due.tail?.()
        if (urgent !== undefined) await tail(urgent, lease, position)
      },
      ...position.told,
    })
  }

  return {
    name,
    state,
    async lead(lease) {
      if (lease.pass === null)
        throw new Error(`no pass was opened, since background_task has no poller ${name}`)
      const leadsSince = performance.now()
      const position: Position = {
        pass: lease.pass,
        leadsSince,
        lastBeganAt: undefined,
        begunAt: undefined,
        heldSaid: false,
        tails: new Tails(options),
        told: passLog(options, lease.term),
      }
      if (lease.createdEdge !== null) position.told.onCreated(lease.createdEdge)
      for (;;) {
        const due = await tick.next(lease.signal)
        if (due === undefined) return
        const reason = held()
        if (reason !== undefined) {
          await missed(due, lease.term, position, { error: reason })
          continue
        }
        position.heldSaid = false
        if (due.isTail === true) {
          await tail(due, lease, position)
          continue
        }
        const startedAt = performance.now()
        try {
          const result = await pass(due, lease, position)
          const { rowsRead, rowsInserted } = result
          const since = result.outcome === 'interrupted' ? held() : undefined
          if (since !== undefined) {
            await missed(due, lease.term, position, { error: since, rowsRead, rowsInserted })
            continue
          }
          if (result.outcome === 'fenced') {
            await record(due, startedAt, lease.term, { outcome: 'fenced', rowsRead, rowsInserted })
            lease.refused('a pass')
          } else if (result.outcome === 'completed') {
            position.lastBeganAt = startedAt
            await completed(due, position.tails.countedWith(result), startedAt, lease.term)
          }
          const { outcome, rereadMs } = result
          await settle(due, { ok: outcome === 'completed', inserted: rowsInserted, rereadMs })
        } catch (error) {
          await failed(due, error, startedAt, lease)
          await settle(due, { ok: false })
        }
        if (lease.signal.aborted) return
      }
    },
    wake() {
      rouse.abort()
      rouse = new AbortController()
    },
    hold() {
      holding.abort()
      holding = new AbortController()
    },
  }
}
