import type { ResolvedConfig, ResolvedJob } from '../config/resolved.ts'
import { countingLog } from '../telemetry/metrics/eventCounts.ts'
import { beginAtZero } from '../telemetry/metrics/known.ts'
import { createMeter } from '../telemetry/metrics/meter.ts'
import type { CountingMeter } from '../telemetry/metrics/meter.ts'
import { Tallies } from '../telemetry/metrics/tally.ts'
import type { Log } from '../telemetry/log.ts'

/** What one instance counts: no other in this process shares it. */
export interface Counting {
  readonly tallies: Tallies
  /** For the parts. */
  readonly meter: CountingMeter
}

/** The counts of an instance, and its log, whose events are counted as they are said. */
export function createCounting(config: ResolvedConfig, log: Log): { counting: Counting; log: Log } {
  const { pollers, processors, intakes, jobs } = config
  const names = (some: readonly Pick<ResolvedJob, 'name'>[]): string[] => some.map(({ name }) => name)
  const tallies = new Tallies()
  beginAtZero(tallies, {
    sources: processors.flatMap(({ from }) => from),
    pollers: names(pollers),
    intakes: names(intakes),
    led: names([...pollers, ...processors.filter(({ exclusive }) => exclusive)]),
    jobs: names(jobs),
    delivers: processors.some(({ work }) => work.kind === 'deliver'),
  })
  return { counting: { tallies, meter: createMeter(tallies) }, log: countingLog(log, tallies) }
}
