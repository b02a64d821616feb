import { METRICS } from './catalog.ts'
import type { CounterName, GaugeName, HistogramName, LabelValues } from './catalog.ts'

/** One series of a histogram. Told of thousands of values a second, so it is a few numbers and nothing else. */
export class Buckets {
  /** How many values fell between the bound before and this one; the last: above all of them. Not added up. */
  readonly counts: Float64Array
  sum = 0
  readonly #bounds: readonly number[]

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.counts = new Float64Array(bounds.length + 1)
  }

  get count(): number {
    return this.counts.reduce((sum, one) => sum + one, 0)
  }

  /** What is below zero (the clock that dated a row was ahead of ours) counts as zero. */
  observe(value: number): void {
    const bounds = this.#bounds
    let i = 0
    while (value > (bounds[i] ?? Number.POSITIVE_INFINITY)) i += 1
    this.counts[i] = (this.counts[i] ?? 0) + 1
    if (value > 0) this.sum += value
  }
}

/** One series: values of the labels, in the order in which its metric has them. */
export interface Series<T> {
  readonly values: readonly string[]
  value: T
}

/** Values of the gauges at one moment. What is not here is not known, and absent from the text. */
export type Gauges = { readonly [N in GaugeName]?: readonly Series<number>[] }

/**
 * What one instance has counted since it started, as plain numbers: counting costs nanoseconds, and the library that writes
 * the text is not even loaded while nobody asks for it.
 */
export class Tallies {
  readonly #counters = new Map<CounterName, Map<string, Series<number>>>()
  readonly #histograms = new Map<HistogramName, Map<string, Series<Buckets>>>()

  /** Adding 0 makes a series that is not there yet: a rate sees the first event only of a series that was there before it. */
  add<N extends CounterName>(name: N, values: LabelValues<N>, by = 1): void {
    seriesOf(this.#counters, name, values, () => 0).value += by
  }

  /** The series of these label values, made when it is asked for first. */
  buckets<N extends HistogramName>(name: N, values: LabelValues<N>): Buckets {
    return seriesOf(this.#histograms, name, values, () => new Buckets(METRICS[name].buckets)).value
  }

  counter(name: CounterName): readonly Series<number>[] {
    return [...(this.#counters.get(name)?.values() ?? [])]
  }

  histogram(name: HistogramName): readonly Series<Buckets>[] {
    return [...(this.#histograms.get(name)?.values() ?? [])]
  }
}

function seriesOf<N, T>(
  all: Map<N, Map<string, Series<T>>>,
  name: N,
  values: readonly string[],
  make: () => T,
): Series<T> {
  let family = all.get(name)
  if (family === undefined) all.set(name, (family = new Map<string, Series<T>>()))
  const key = values.join('\n')
  let series = family.get(key)
  if (series === undefined) family.set(key, (series = { values, value: make() }))
  return series
}
