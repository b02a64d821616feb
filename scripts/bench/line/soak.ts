import Table from 'cli-table3'
import type { BenchPart, Outcome, Verdict } from '../part.ts'
import { rssMb } from '../process.ts'
import { limitOf, median, verdictOf, whole } from '../report.ts'
import type { LimitResult } from '../report.ts'
import type { BenchServer } from '../server.ts'
import { burstSpeed, openBed } from './bed.ts'
import type { Slice } from './bed.ts'
import { findPeak, GROWTH_MOST, growthOf, triesOf } from './peak.ts'
import { lineSql } from './statements.ts'

/*
 * The line at half its peak for long, a sample a minute: whether what it does in the beginning it does in the end, and what
 * has gathered meanwhile, in the memory of the process and in the tables. Nothing is deleted: retention is of days.
 */

const MINUTES = 30
const SLICE_S = 60
/** A shorter run has so many samples. */
const SLICES_LEAST = 10
const SHARE = 0.5

const LOSS_MOST_PERCENT = 10
/** Autovacuum comes at 5 % of a table's rows; what dies until it is through comes on top. */
const DEAD_MOST_PERCENT = 10
/** Of fewer rows the share says nothing: autovacuum looks once a minute, and most of them came since. */
const ROWS_LEAST = 100_000
/** Of the last third, over the third before. */
const BYTES_MOST = 1.1
const MEMORY_MOST = 1.1

interface Bloat {
  readonly deadRows: number
  readonly liveRows: number
  readonly heapMb: number
  readonly indexMb: number
}

export interface Sample extends Bloat, Slice {
  /** At the end of the slice. */
  readonly rssMb: number | null
}

export interface SoakPlan {
  readonly prefilled: number
  readonly trySeconds: number
  readonly tries: number
  readonly seconds: number
}

export interface SoakFigures {
  readonly peak: number
  readonly rate: number
  readonly sliceSeconds: number
  readonly samples: readonly Sample[]
  readonly rows: number
  readonly limits: readonly LimitResult[]
}

export const soak: BenchPart = {
  name: 'soak',
  about: 'the line at half its peak for 30 minutes: throughput, memory and dead rows over time',
  onRequest: true,
  run(server, { rows, quick, minutes }, tell) {
    const seconds = (minutes ?? MINUTES) * 60
    const trySeconds = Math.min(quick ? 6 : 15, Math.max(1, seconds / 10))
    return measureSoak(server, { prefilled: rows, trySeconds, tries: triesOf(rows, quick), seconds }, tell)
  },
}

export async function measureSoak(
  server: BenchServer,
  plan: SoakPlan,
  tell: (what: string) => void,
): Promise<Outcome & { readonly json: SoakFigures }> {
  const bed = await openBed(server, { prefilled: plan.prefilled })
  try {
    const peak = await findPeak(bed, await burstSpeed(server, '0'), {
      tries: plan.tries,
      seconds: plan.trySeconds,
      onTry: (rate) => tell(`soak: is ${whole(rate)} rows a second too much?`),
    })
    const rate = SHARE * peak.rate
    const sliceSeconds = Math.min(SLICE_S, plan.seconds / SLICES_LEAST)
    await bed.settle()
    const taken: Promise<Bloat & { rssMb: number | null }>[] = []
    const sampler = setInterval(() => {
      tell(`soak: ${taken.length * sliceSeconds} of ${plan.seconds} s`)
      const memory = rssMb(bed.pid)
      const sample = server.query<Bloat & Record<string, unknown>>(lineSql('bloat')).then(([bloat]) => {
        if (bloat === undefined) throw new Error('the server has no statistics')
        return { ...bloat, rssMb: memory }
      })
      // Whoever waits for all of them hears of it.
      sample.catch(() => undefined)
      taken.push(sample)
    }, sliceSeconds * 1000)
    const step = await bed.step(rate, plan.seconds).finally(() => clearInterval(sampler))
    const gathered = await Promise.all(taken)
    const slices = await bed.slices(sliceSeconds)
    const samples = slices.flatMap((slice, n) => {
      const bloat = gathered[n]
      return bloat === undefined ? [] : [{ ...slice, ...bloat }]
    })
    const limits = [
      ...soakLimits(samples),
      limitOf({
        of: 'open messages, last quarter over first',
        value: growthOf(step),
        unit: '×',
        most: GROWTH_MOST,
      }),
    ]
    const figures = { peak: peak.rate, rate, sliceSeconds, samples, rows: await bed.check(), limits }
    const verdicts = limits.map(verdictOf)
    return { json: figures, text: textOf(figures, verdicts), verdicts }
  } finally {
    await bed.close()
  }
}

/** What must be as it was in the beginning, or at least no longer grow. */
export function soakLimits(samples: readonly Sample[]): LimitResult[] {
  const third = Math.floor(samples.length / 3)
  const middle = samples.slice(-2 * third, -third)
  const last = samples.slice(-third)
  const [first] = samples
  if (first === undefined || third === 0) throw new Error(`${samples.length} samples are no soak`)
  const of = (part: readonly Sample[], value: (sample: Sample) => number): number => median(part.map(value))
  const bytesARow = ({ heapMb, indexMb, liveRows }: Sample): number => (heapMb + indexMb) / liveRows
  const memory = ({ rssMb: mb }: Sample): number => mb ?? 1
  return [
    limitOf({
      of: 'throughput of the last third lost against the first minute',
      value: 100 * (1 - of(last, ({ perSecond }) => perSecond) / first.perSecond),
      unit: '%',
      most: LOSS_MOST_PERCENT,
    }),
    limitOf({
      of: 'dead rows at their highest in the last third, of the living',
      value: Math.max(
        ...last.map(({ deadRows, liveRows }) => (100 * deadRows) / Math.max(liveRows, ROWS_LEAST)),
      ),
      unit: '%',
      most: DEAD_MOST_PERCENT,
    }),
    limitOf({
      of: 'bytes of tables and indexes a row, last third over the one before',
      value: of(last, bytesARow) / of(middle, bytesARow),
      unit: '×',
      most: BYTES_MOST,
    }),
    limitOf({
      of: 'memory of the process, last third over the one before',
      value: of(last, memory) / of(middle, memory),
      unit: '×',
      most: MEMORY_MOST,
    }),
  ]
}

function textOf(
  { peak, rate, sliceSeconds, samples, rows }: SoakFigures,
  verdicts: readonly Verdict[],
): string {
  const head = ['s', 'done/s', 'p50 ms', 'p99 ms', 'RSS MB', 'rows', 'dead rows', 'heap MB', 'indexes MB']
  const table = new Table({
    head,
    colAligns: head.map(() => 'right' as const),
    style: { head: [], border: [], compact: true },
  })
  samples.forEach((sample, n) => {
    table.push([
      whole((n + 1) * sliceSeconds),
      whole(sample.perSecond),
      sample.p50Ms?.toFixed(1) ?? '–',
      sample.p99Ms?.toFixed(1) ?? '–',
      sample.rssMb?.toFixed(0) ?? '–',
      whole(sample.liveRows),
      whole(sample.deadRows),
      sample.heapMb.toFixed(0),
      sample.indexMb.toFixed(0),
    ])
  })
  return [
    `\nsoak: ${whole(rate)} rows a second, ${SHARE * 100} % of ${whole(peak)}; ${whole(rows)} rows, each done once`,
    table.toString(),
    ...verdicts.map(({ line }) => line),
    '',
  ].join('\n')
}
