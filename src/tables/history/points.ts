import { METRICS } from '../../telemetry/metrics/catalog.ts'
import { percentileOf } from './percentile.ts'

/** One value of one series. */
export interface HistoryPoint {
  /** ISO 8601, UTC: the beginning of its step. */
  readonly at: string
  readonly name: string
  readonly key: string
  readonly value: number
}

/** A row of a step, as it is stored: buckets where points have percentiles, and nothing where there was nothing. */
export type StoredStep = HistoryPoint

/** What is counted in buckets, by source and bound: where these end, in seconds. */
const BUCKETED: Readonly<Record<string, readonly number[]>> = {
  latency: METRICS.tidemark_message_latency_seconds.buckets,
  handler: METRICS.tidemark_handler_duration_seconds.buckets,
}

/** An instance has told its counts, whether or not there were any. */
const TOLD = 'flushed'
/** Whoever looks at what is so finds itself, at least. */
const LOOKED = 'instances'

/** What instances count, and what passes say. */
const COUNTED: readonly string[] = ['ingested', 'done', 'failed', 'dead', 'interrupted', 'late_rows']

/** Of which a step has the sum. Of the others it has the greatest value. */
export const SUMMED: readonly string[] = [...COUNTED, ...Object.keys(BUCKETED)]

/** None of it is no row, and not nothing known. */
const NONE_IS_ZERO: readonly string[] = ['backlog', 'oldest_seconds', LOOKED]

/** In hundredths: half of the messages, all but every twentieth, all but every hundredth. */
const PERCENTILES = [50, 95, 99] as const

/** What a person or a chart can use: zeros where there was nothing, percentiles in place of buckets. In order of time. */
export function toPoints(rows: readonly StoredStep[]): HistoryPoint[] {
  const points: HistoryPoint[] = []
  const series = new Map<string, { name: string; key: string }>()
  for (const { name, key } of rows) series.set(`${name} ${key}`, { name, key })
  for (const [at, step] of Map.groupBy(rows, (row) => row.at)) {
    const values = new Map(step.map(({ name, key, value }) => [`${name} ${key}`, value]))
    const isKnown = { counts: has(step, TOLD), looks: has(step, LOOKED) }
    for (const [id, { name, key }] of series) {
      if (name === TOLD || name in BUCKETED) continue
      const value = values.get(id) ?? (isZero(name, isKnown) ? 0 : undefined)
      if (value !== undefined) points.push({ at, name, key, value })
    }
    points.push(...percentilesOf(at, step))
  }
  return points
}

function has(step: readonly StoredStep[], wanted: string): boolean {
  return step.some(({ name }) => name === wanted)
}

function isZero(name: string, isKnown: { readonly counts: boolean; readonly looks: boolean }): boolean {
  return (isKnown.counts && COUNTED.includes(name)) || (isKnown.looks && NONE_IS_ZERO.includes(name))
}

function percentilesOf(at: string, step: readonly StoredStep[]): HistoryPoint[] {
  return Object.entries(BUCKETED).flatMap(([name, boundsS]) => {
    const bySource = Map.groupBy(
      step.filter((row) => row.name === name),
      ({ key }) => splitKey(key).source,
    )
    return [...bySource].flatMap(([key, rows]) => {
      const buckets = rows.map((row) => ({ upToS: splitKey(row.key).boundS, count: row.value }))
      return PERCENTILES.map((p) => ({
        at,
        name: `${name}_p${p}`,
        key,
        value: percentileOf(buckets, p / 100, boundsS),
      }))
    })
  })
}

/** How a bucket is called in the history: the bound in seconds, `inf` above them all. */
export function bucketKey(source: string, boundS: number | undefined): string {
  return `${source} ${boundS ?? 'inf'}`
}

function splitKey(key: string): { source: string; boundS: number } {
  const [source = '', bound] = key.split(' ')
  return { source, boundS: bound === 'inf' ? Number.POSITIVE_INFINITY : Number(bound) }
}
