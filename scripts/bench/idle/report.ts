import type { Verdict } from '../part.ts'
import type { StatementCounts, Whose } from './count.ts'

/** Statements a second, ours and pg-boss's together. */
const MOST_A_SECOND = 5
/** Above a bare Node process. */
const MOST_MB = 90

export interface IdleResult {
  readonly seconds: number
  readonly counts: StatementCounts
  readonly perSecond: number
  readonly perSecondWithoutDaily: number
  /** Null where there is no /proc. */
  readonly rssMb: number | null
  readonly bareRssMb: number | null
}

export function idleOf(measured: Pick<IdleResult, 'counts' | 'seconds' | 'rssMb' | 'bareRssMb'>): IdleResult {
  const { counts, seconds } = measured
  const all = counts.totals.tidemark + counts.totals['pg-boss']
  return { ...measured, perSecond: all / seconds, perSecondWithoutDaily: (all - counts.daily) / seconds }
}

export function idleVerdicts({ perSecond, rssMb, bareRssMb }: IdleResult): Verdict[] {
  const verdicts = [
    limit(`idle: ${perSecond.toFixed(2)} statements a second`, perSecond, MOST_A_SECOND, `${MOST_A_SECOND}`),
  ]
  if (rssMb === null || bareRssMb === null) return verdicts
  const above = rssMb - bareRssMb
  return [...verdicts, limit(`idle: ${above.toFixed(0)} MB above bare Node`, above, MOST_MB, `${MOST_MB} MB`)]
}

function limit(what: string, value: number, most: number, mostText: string): Verdict {
  const reached = value <= most
  return { line: `${reached ? 'reached' : 'MISSED'}: ${what} (at most ${mostText})`, reached }
}

/** The result as people read it. */
export function idleText(result: IdleResult): string {
  const { seconds, counts, perSecond, perSecondWithoutDaily, rssMb, bareRssMb } = result
  const rate = (count: number): string => (count / seconds).toFixed(2).padStart(6)
  const lines = (['tidemark', 'pg-boss'] as const).flatMap((whose: Whose) => [
    `${whose}: ${rate(counts.totals[whose]).trim()} statements a second`,
    ...counts.lines
      .filter((line) => line.whose === whose)
      .map(({ what, count }) => `${rate(count)}  ${what}`),
  ])
  if (counts.daily > 0)
    lines.push(
      `${counts.daily} of them are pg-boss's once a day: ${perSecondWithoutDaily.toFixed(2)} of ${perSecond.toFixed(2)} without`,
    )
  if (rssMb !== null && bareRssMb !== null)
    lines.push(`memory: ${rssMb.toFixed(0)} MB, bare Node ${bareRssMb.toFixed(0)} MB`)
  return `\nidle: an instance with nothing to do, ${seconds} s\n${[...lines, ...idleVerdicts(result).map(({ line }) => line)].join('\n')}\n`
}
