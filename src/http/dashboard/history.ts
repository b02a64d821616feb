import type { Queryable } from '../../db/pool.ts'
import { readHistory, readLeaderChanges } from '../../tables/history.ts'
import type { HistoryPoint, LeaderChangeAt } from '../../tables/history.ts'

export const SPANS = {
  hour: { text: 'Last hour', minutes: 60, stepMinutes: 1 },
  day: { text: 'Last day', minutes: 1_440, stepMinutes: 10 },
  week: { text: 'Last week', minutes: 10_080, stepMinutes: 60 },
} as const
export type Span = keyof typeof SPANS

/** Lines of one chart are few enough to be told apart. */
const LINES_MOST = 6
const MINUTE_MS = 60_000

/** A line of a chart. */
export interface Line {
  readonly label: string
  /** One for each time of the chart; null: nothing is known. */
  readonly values: readonly (number | null)[]
}

export interface Chart {
  readonly id: string
  readonly title: string
  /** Of the values: `/s`, `s`, or nothing for a count. */
  readonly unit: '/s' | 's' | ''
  readonly lines: readonly Line[]
}

/** All that a history page shows. */
export interface Chronicle {
  /** Seconds of the epoch, the beginning of each step. */
  readonly times: readonly number[]
  readonly stepMinutes: number
  readonly charts: readonly Chart[]
  readonly changes: readonly LeaderChangeAt[]
}

/** @param now milliseconds of the epoch */
export async function readChronicle(db: Queryable, span: Span, now = Date.now()): Promise<Chronicle> {
  const { minutes, stepMinutes } = SPANS[span]
  const stepMs = stepMinutes * MINUTE_MS
  // The step that is not over yet would look like a fall.
  const to = new Date(Math.floor(now / stepMs) * stepMs)
  const from = new Date(to.getTime() - minutes * MINUTE_MS)
  const [points, changes] = await Promise.all([
    readHistory(db, { from, to, stepMinutes }),
    readLeaderChanges(db, { from, to: new Date(now) }),
  ])
  const times = Array.from({ length: minutes / stepMinutes }, (_, n) => (from.getTime() + n * stepMs) / 1000)
  return { times, stepMinutes, charts: chartsOf(points, times, stepMinutes), changes }
}

/** The charts, whose order is that of the questions: what came and went, how long it took, what waits, how far behind. */
function chartsOf(points: readonly HistoryPoint[], times: readonly number[], stepMinutes: number): Chart[] {
  const perSecond = 1 / (stepMinutes * 60)
  const byName = Map.groupBy(points, ({ name }) => name)
  const placeOf = new Map(times.map((time, n) => [time, n]))

  /** One line a key, the greatest ones; `label` tells them apart. */
  function linesOf(name: string, label: (key: string) => string, scale = 1): Line[] {
    const byKey = Map.groupBy(byName.get(name) ?? [], ({ key }) => key)
    const lines = [...byKey].map(([key, of]) => {
      const values = times.map((): number | null => null)
      for (const { at, value } of of) {
        const place = placeOf.get(Date.parse(at) / 1000)
        if (place !== undefined) values[place] = value * scale
      }
      return { label: label(key), values, sum: of.reduce((sum, { value }) => sum + value, 0) }
    })
    return lines
      .toSorted((one, other) => other.sum - one.sum || (one.label < other.label ? -1 : 1))
      .slice(0, LINES_MOST)
  }

  return [
    {
      id: 'rates',
      title: 'Taken in and done',
      unit: '/s',
      lines: [
        ...linesOf('ingested', (key) => `${key} taken in`, perSecond),
        ...linesOf('done', (key) => `${key} done`, perSecond),
      ],
    },
    {
      id: 'failures',
      title: 'Failed, given up, interrupted',
      unit: '/s',
      lines: [
        ...linesOf('failed', (key) => `${key} failed`, perSecond),
        ...linesOf('dead', (key) => `${key} given up`, perSecond),
        ...linesOf('interrupted', (key) => `${key} interrupted`, perSecond),
      ],
    },
    {
      id: 'latency',
      title: 'From the source to done',
      unit: 's',
      lines: [
        ...linesOf('latency_p50', (key) => `${key} half within`),
        ...linesOf('latency_p95', (key) => `${key} 95 % within`),
        ...linesOf('latency_p99', (key) => `${key} 99 % within`),
      ],
    },
    {
      id: 'handler',
      title: 'Handlers',
      unit: 's',
      lines: [
        ...linesOf('handler_p50', (key) => `${key} half within`),
        ...linesOf('handler_p99', (key) => `${key} 99 % within`),
      ],
    },
    { id: 'backlog', title: 'Backlog', unit: '', lines: linesOf('backlog', (key) => key) },
    {
      id: 'oldest',
      title: 'Age of the oldest open message',
      unit: 's',
      lines: linesOf('oldest_seconds', (key) => key),
    },
    {
      id: 'lag',
      title: 'How far the pollers were behind',
      unit: 's',
      lines: [
        ...linesOf('lag_seconds', (key) => `${key} lag`),
        ...linesOf('edge_lag_seconds', (key) => `${key} edge`),
      ],
    },
    { id: 'instances', title: 'Instances', unit: '', lines: linesOf('instances', (key) => key) },
  ]
}
