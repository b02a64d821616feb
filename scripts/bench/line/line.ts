import Table from 'cli-table3'
import type { BenchPart, Outcome, Verdict } from '../part.ts'
import { limitOf, verdictOf, whole } from '../report.ts'
import type { LimitResult } from '../report.ts'
import type { BenchServer } from '../server.ts'
import { burstSpeed, openBed } from './bed.ts'
import type { LineBed, Step } from './bed.ts'
import { findPeak, BEHIND_MOST_PERCENT, GROWTH_MOST, growthOf, triesOf } from './peak.ts'
import type { Peak } from './peak.ts'
import { SHAPE } from './writer.ts'

/*
 * From a source row to DONE: one `tidemark start` with a no-op handler of batches, inserts wake it, and writers beside it
 * that share the machine with all of that. First how much it does, then how long that takes at parts of the peak.
 */

const SHARES = [0.25, 0.5, 0.75, 0.9]
/** The share at which people are to run it, and what is promised of it. */
const STEADY = 0.5
const P99_MOST_MS = 250
const RSS_MOST_MB = 200

export interface LinePlan {
  readonly prefilled: number
  /** Of a step that tells whether a rate is held, and how many there are. */
  readonly trySeconds: number
  readonly tries: number
  /** Of a step at a share of the peak. */
  readonly seconds: number
  readonly shares: readonly number[]
}

export interface LineFigures {
  readonly shape: typeof SHAPE
  readonly prefilled: number
  /** Messages a second with the writers off: ingest and processing at once, in a process that has just started. */
  readonly workedOff: number
  readonly peak: Peak
  readonly steps: readonly (Step & { readonly share: number; readonly growth: number })[]
  readonly highestRssMb: number | null
  readonly rows: number
  readonly limits: readonly LimitResult[]
}

export const line: BenchPart = {
  name: 'line',
  about: 'source to DONE with a steady writer: throughput, and latency at parts of it',
  async run(server, { rows, quick, minutes }, tell) {
    const longest = quick ? 10 : 60
    const seconds = Math.min(longest, Math.max(1, rows / 1_000))
    return measureLine(
      server,
      {
        prefilled: rows,
        trySeconds: Math.min(quick ? 6 : 15, seconds),
        tries: triesOf(rows, quick),
        seconds: minutes === undefined ? seconds : minutes * 60,
        shares: minutes === undefined ? SHARES : [STEADY],
      },
      tell,
    )
  },
}

export async function measureLine(
  server: BenchServer,
  plan: LinePlan,
  tell: (what: string) => void,
): Promise<Outcome & { readonly json: LineFigures }> {
  tell('line: what is there is worked off')
  const bed = await openBed(server, { prefilled: plan.prefilled })
  try {
    const workedOff = await burstSpeed(server, '0')
    const peak = await findPeak(bed, workedOff, {
      tries: plan.tries,
      seconds: plan.trySeconds,
      onTry: (rate) => tell(`line: is ${whole(rate)} rows a second too much?`),
    })
    const steps = []
    for (const share of plan.shares) {
      tell(`line: ${share * 100} % of the peak`)
      await bed.settle()
      const step = await bed.step(share * peak.rate, plan.seconds)
      steps.push({ share, growth: growthOf(step), ...step })
    }
    const figures: LineFigures = {
      shape: SHAPE,
      prefilled: plan.prefilled,
      workedOff,
      peak,
      steps,
      highestRssMb: bed.highestRssMb,
      rows: await bed.check(),
      limits: limitsOf(bed, steps),
    }
    const verdicts = figures.limits.map(verdictOf)
    return { json: figures, text: textOf(figures, verdicts), verdicts }
  } finally {
    await bed.close()
  }
}

function limitsOf(
  { highestRssMb }: LineBed,
  steps: readonly (Step & { share: number; growth: number })[],
): LimitResult[] {
  const steady = steps.find(({ share }) => share === STEADY)
  const at = `at ${STEADY * 100} % of the peak`
  return [
    ...(steady === undefined
      ? []
      : [
          limitOf({ of: `p99 source to DONE ${at}`, value: steady.p99Ms, unit: 'ms', most: P99_MOST_MS }),
          limitOf({
            of: `open messages ${at}, last quarter over first`,
            value: steady.growth,
            unit: '×',
            most: GROWTH_MOST,
          }),
          limitOf({
            of: `the writers ${at} were behind their schedule by`,
            value: 100 * (1 - steady.written / steady.rate),
            unit: '%',
            most: BEHIND_MOST_PERCENT,
          }),
        ]),
    ...(highestRssMb === null
      ? []
      : [
          limitOf({
            of: 'memory of the process at its highest',
            value: highestRssMb,
            unit: 'MB',
            most: RSS_MOST_MB,
          }),
        ]),
  ]
}

const COLUMNS: readonly [string, (step: Step & { share: number; growth: number }) => string][] = [
  ['of the peak', ({ share }) => `${share * 100} %`],
  ['rows/s', ({ rate }) => whole(rate)],
  ['done/s', ({ perSecond }) => whole(perSecond)],
  ['p50 ms', ({ p50Ms }) => p50Ms.toFixed(1)],
  ['p95 ms', ({ p95Ms }) => p95Ms.toFixed(1)],
  ['p99 ms', ({ p99Ms }) => p99Ms.toFixed(1)],
  ['max ms', ({ maxMs }) => maxMs.toFixed(1)],
  ['open, first', ({ openFirst }) => whole(openFirst)],
  ['open, last', ({ openLast }) => whole(openLast)],
  ['writer late p99', ({ late99Ms }) => late99Ms.toFixed(1)],
  ['node µs', ({ instanceCpuUs }) => instanceCpuUs?.toFixed(0) ?? '–'],
]

function textOf(figures: LineFigures, verdicts: readonly Verdict[]): string {
  const { workedOff, peak, prefilled, steps, highestRssMb, rows } = figures
  const table = new Table({
    head: COLUMNS.map(([head]) => head),
    colAligns: COLUMNS.map(() => 'right' as const),
    style: { head: [], border: [], compact: true },
  })
  for (const step of steps) table.push(COLUMNS.map(([, cell]) => cell(step)))
  const tries = peak.tries
    .toSorted((a, b) => a.rate - b.rate)
    .map(({ rate, isHeld: held }) => `${whole(rate)}${held ? '' : ' too much'}`)
  return [
    `\nline: source to DONE, one process, ${SHAPE.clients} writers, ${SHAPE.rowsPerCommit} rows a commit, ${steps[0] === undefined ? 0 : (steps[0].rows / steps[0].rate).toFixed(0)} s a step`,
    `${whole(prefilled)} rows worked off with no writer: ${whole(workedOff)} a second`,
    `the highest steady rate: ${whole(peak.rate)} a second, ${(peak.rate / workedOff).toFixed(2)} of that (${tries.join(', ')})`,
    table.toString(),
    `memory at its highest ${highestRssMb?.toFixed(0) ?? '–'} MB; ${whole(rows)} rows, each done once`,
    ...verdicts.map(({ line: text }) => text),
    '',
  ].join('\n')
}
