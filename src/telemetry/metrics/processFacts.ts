import type { Gauges } from './tally.ts'

/** User and system time of this process so far. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** What any process may tell of itself, under the names that dashboards know. */
export function processGauges(): Gauges {
  const of = (value: number) => [{ values: [], value }]
  return {
    process_resident_memory_bytes: of(process.memoryUsage.rss()),
    process_start_time_seconds: of(Math.round(performance.timeOrigin) / 1000),
    nodejs_heap_size_used_bytes: of(process.memoryUsage().heapUsed),
  }
}
