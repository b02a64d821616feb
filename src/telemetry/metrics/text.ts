import type { Histogram } from 'prom-client'
import { METRICS } from './catalog.ts'
import type { CounterName, GaugeName, HistogramName, MetricFacts, MetricName } from './catalog.ts'
import { cpuSeconds } from './processFacts.ts'
import type { Buckets, Gauges, Series, Tallies } from './tally.ts'

/** What `GET /metrics` is, as Prometheus' text format has it. */
export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/**
 * The text of all metrics, by prom-client. A registry for each text: it holds nothing between two of them, the tallies do, and
 * several instances in one process have nothing in common. A metric without a series is left out.
 */
export async function metricsText(tallies: Tallies, gauges: Gauges): Promise<string> {
  // When somebody asks, and not at the start: most of its modules an instance that nobody scrapes never needs.
  const { Counter, Gauge, Histogram, Registry } = await import('prom-client')
  const registry = new Registry()
  for (const [name, facts] of Object.entries(METRICS) as [MetricName, MetricFacts][]) {
    const about = { name, help: facts.help, labelNames: facts.labels, registers: [registry] }
    if (isHistogram(name)) {
      const series = tallies.histogram(name)
      if (series.length > 0)
        fill(new Histogram({ ...about, buckets: [...METRICS[name].buckets] }), name, series)
    } else {
      const series = isCounter(name) ? counted(tallies, name) : (gauges[name] ?? [])
      if (series.length === 0) continue
      const metric = isCounter(name) ? new Counter(about) : new Gauge(about)
      for (const { values, value } of series) metric.inc(labelled(facts, values), value)
    }
  }
  return registry.metrics()
}

function isHistogram(name: MetricName): name is HistogramName {
  return METRICS[name].type === 'histogram'
}

function isCounter(name: CounterName | GaugeName): name is CounterName {
  return METRICS[name].type === 'counter'
}

/** Counters that are kept elsewhere, and all others. */
function counted(tallies: Tallies, name: CounterName): readonly Series<number>[] {
  if (name === 'process_cpu_seconds_total') return [{ values: [], value: cpuSeconds() }]
  if (name !== 'tidemark_messages_processed_total') return tallies.counter(name)
  return tallies
    .histogram('tidemark_message_latency_seconds')
    .map(({ values, value }) => ({ values, value: value.count }))
}

function labelled({ labels }: MetricFacts, values: readonly string[]): Record<string, string> {
  return Object.fromEntries(labels.map((label, i) => [label, values[i] ?? '']))
}

/**
 * A histogram as prom-client asks for it. It takes one value at a time by itself, and a minute of messages would hold the
 * event loop up for a second; so what it is asked for the text is answered from our own counts.
 */
function fill(histogram: Histogram, name: HistogramName, series: readonly Series<Buckets>[]): void {
  const { help, buckets } = METRICS[name]
  const rows = series.flatMap(({ values, value: { counts, count, sum } }) => {
    const labels = labelled(METRICS[name], values)
    let below = 0
    const bucket = (le: number | string, value: number) => ({
      metricName: `${name}_bucket`,
      labels: { le, ...labels },
      value,
    })
    return [
      ...buckets.map((le, i) => bucket(le, (below += counts[i] ?? 0))),
      bucket('+Inf', count),
      { metricName: `${name}_sum`, labels, value: sum },
      { metricName: `${name}_count`, labels, value: count },
    ]
  })
  const answer = () => Promise.resolve({ name, help, type: 'histogram', values: rows, aggregator: 'sum' })
  Object.assign(histogram, { get: answer, getForPromString: answer })
}
