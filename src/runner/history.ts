/**
 * How counts reach the history: what this process counts in memory (telemetry/metrics/tally.ts) goes to `history_minute` once a minute.
 *
 *     counted ──a minute is over, or the drain──▶ batch: its minute, its number ──written──▶ history
 *                                                  ▲ └──not, or nobody knows──┐
 *                                                  └─────────── 10 s ─────────┘
 *
 * Minutes are those of the database's clock, which each answer brings along. A batch belongs to the minute in which the middle
 * of its time lies: it is closed a moment after its minute, and in a drain before the end.
 *
 * The database owns the truth: a batch is written when the row `flushed` of this instance and minute has its number, in the
 * same statement as its counts. So
 *
 * - *the answer of a statement is lost*: the batch is sent again and finds its number there, or waits for the statement that
 *   was cut off to end and then finds it, or not. It is counted once;
 * - *the database is away*: batches wait in memory and keep their minutes. Beyond an hour of them the oldest that have not
 *   been sent yet are joined, under the later minute: how many is worth more than exactly when;
 * - *the process is killed*: what it counted since its newest batch is lost, a minute at most. A history that may show too
 *   little for one minute is better than one that shows messages which never were, and to be exact here would take a row for
 *   each batch of outcomes, in the transaction that every message waits for;
 * - *the database's clock steps*: counts follow it from the next answer on;
 * - *the table is gone*: it is said (missing.ts), and work goes on.
 */
import type { Queryable } from '../db/pool.ts'
import { isConnectionError } from '../db/sqlstate.ts'
import { startLoop } from '../kit/loop.ts'
import { within } from '../kit/within.ts'
import { addCounted, databaseClock } from '../tables/history.ts'
import type { Counted, CountedMinute } from '../tables/history.ts'
import { bucketKey } from '../tables/history/points.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { METRICS } from '../telemetry/metrics/catalog.ts'
import type { CounterName, HistogramName } from '../telemetry/metrics/catalog.ts'
import type { Tallies } from '../telemetry/metrics/tally.ts'

export interface HistoryOptions {
  readonly db: Queryable
  readonly instanceId: string
  readonly tallies: Tallies
  readonly log: Pick<Log, 'event'>
  /** Length of a minute, in milliseconds. Default: 60,000; tests have no time for that. */
  readonly minuteMs?: number
}

export interface History {
  /** Writes what is counted and not written yet, within `limitMs`, and ends. */
  stop(limitMs: number): Promise<void>
}

const MINUTE_MS = 60_000

/** After the end of a minute: its last outcomes are on their way, and no clock is read to the millisecond. */
const AFTER_MS = 100

/** Until a batch that could not be written is sent again. */
const AGAIN_MS = 10_000

/** Batches that wait at most, an hour of them: some kilobytes each. */
const MOST_WAITING = 60

export function startHistory(options: HistoryOptions): History {
  const { db, instanceId, tallies, log, minuteMs = MINUTE_MS } = options
  const waiting: CountedMinute[] = []
  /** What stands in batches already, by name and key. */
  let batched = new Map<string, number>()
  let number = 0
  /** Since when counts are in no batch, by the monotonic clock. */
  let since = performance.now()
  /** What the database's clock said, and when. */
  let clock: { readonly nowMs: number; readonly at: number } | undefined

  const databaseNow = (known: NonNullable<typeof clock>): number => known.nowMs + performance.now() - known.at

  /** Puts what was counted since the last one into a batch. It is empty when nothing was: the instance lived, and counted nothing. */
  function close(known: NonNullable<typeof clock>): void {
    const halfMs = (performance.now() - since) / 2
    since = performance.now()
    const at = Math.floor((databaseNow(known) - halfMs) / minuteMs) * minuteMs
    const all = countedBy(tallies)
    const counted = all.flatMap((one) => {
      const value = one.value - (batched.get(idOf(one)) ?? 0)
      return value === 0 ? [] : [{ ...one, value }]
    })
    batched = new Map(all.map((one) => [idOf(one), one.value]))
    waiting.push({ at: new Date(at).toISOString(), number: (number += 1), counted })
    // The first may have been sent, and be written under its number.
    const [, older, later] = waiting
    if (waiting.length > MOST_WAITING && older !== undefined && later !== undefined)
      waiting.splice(1, 2, joined(older, later))
  }

  async function readClock(ask: () => Promise<number>): Promise<void> {
    const nowMs = await ask()
    clock = { nowMs, at: performance.now() }
  }

  async function writeAll(): Promise<void> {
    for (let [first] = waiting; first !== undefined; [first] = waiting) {
      const batch = first
      await readClock(() => addCounted(db, instanceId, batch))
      // A stop that waited in vain for this loop may have sent it, too.
      if (waiting[0] === batch) waiting.shift()
    }
  }

  /** A moment after the end of the present minute. */
  function nextClose(known: NonNullable<typeof clock>): number {
    return performance.now() + minuteMs - ((databaseNow(known) - AFTER_MS) % minuteMs)
  }

  /** When the present batch is closed. The first look only learns where in its minute the database is. */
  let closeAt: number | undefined
  const loop = startLoop({
    async body() {
      if (clock === undefined) await readClock(() => databaseClock(db))
      const known = clock
      if (known === undefined) return AGAIN_MS
      if (closeAt !== undefined && performance.now() >= closeAt) {
        close(known)
        closeAt = undefined
      }
      closeAt ??= nextClose(known)
      await writeAll()
      return Math.max(0, closeAt - performance.now())
    },
    onError(error, failures) {
      // Its absence is told elsewhere, and the counts wait.
      if (failures === 1 && !isConnectionError(error)) {
        const { class: className, text } = cleanError(error)
        const msg = `counts could not be written to the history: ${text}; tried again until they are`
        log.event('loop_failed', msg, { loop: 'history', class: className, text, next_try_ms: AGAIN_MS })
      }
      const untilClose = (closeAt ?? Number.POSITIVE_INFINITY) - performance.now()
      return Math.max(0, Math.min(AGAIN_MS, untilClose))
    },
  })

  return {
    async stop(limitMs) {
      const end = performance.now() + limitMs
      await within(limitMs, loop.stop())
      if (clock === undefined) return // nothing was heard of the database, so nothing was done in it
      close(clock)
      await within(end - performance.now(), writeAll())
    },
  }
}

const idOf = ({ name, key }: Counted): string => `${name} ${key}`

function joined(older: CountedMinute, later: CountedMinute): CountedMinute {
  const values = new Map<string, Counted>()
  for (const one of [...older.counted, ...later.counted])
    values.set(idOf(one), { ...one, value: one.value + (values.get(idOf(one))?.value ?? 0) })
  return { ...later, counted: [...values.values()] }
}

/** Which counter is which name of the history; what is done, the latencies tell. */
const COUNTERS: readonly (readonly [name: string, counter: CounterName])[] = [
  ['ingested', 'tidemark_messages_taken_in_total'],
  ['failed', 'tidemark_messages_failed_total'],
  ['dead', 'tidemark_messages_dead_total'],
  ['interrupted', 'tidemark_messages_interrupted_total'],
]

/** Everything that was counted since the process started, as rows of the history. The first label of each is the source. */
function countedBy(tallies: Tallies): Counted[] {
  const counts = COUNTERS.flatMap(([name, counter]) =>
    tallies.counter(counter).map(({ values: [key = ''], value }) => ({ name, key, value })),
  )
  const done = tallies
    .histogram('tidemark_message_latency_seconds')
    .map(({ values: [key = ''], value }) => ({ name: 'done', key, value: value.count }))
  return [
    ...counts,
    ...done,
    ...bucketsOf(tallies, 'latency', 'tidemark_message_latency_seconds'),
    ...bucketsOf(tallies, 'handler', 'tidemark_handler_duration_seconds'),
  ]
}

function bucketsOf(tallies: Tallies, name: string, histogram: HistogramName): Counted[] {
  const bounds = METRICS[histogram].buckets
  return tallies
    .histogram(histogram)
    .flatMap(({ values: [source = ''], value: { counts } }) =>
      Array.from(counts, (value, i) => ({ name, key: bucketKey(source, bounds[i]), value })),
    )
}
