import { METRICS } from '../../src/telemetry/metrics/catalog.ts'
import type { MetricFacts } from '../../src/telemetry/metrics/catalog.ts'

/** What Prometheus adds to every series, or makes itself. */
const ADDED = new Set(['instance', 'job', 'le', 'exported_job'])
const MADE = new Map<string, readonly string[]>([['up', []]])

/** A name, what stands in its braces, and nothing that would make it a function. */
const SELECTOR = /\b([a-z_]\w*)\b(?:\{([^}]*)\})?(?!\s*\()/g
const GROUPING = /\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g
const WORDS = new Set(['by', 'without', 'on', 'ignoring', 'or', 'and', 'unless', 'offset', 'bool'])

/** Metrics and labels of an expression that nobody exposes, as far as its text tells. */
export function unknownIn(expr: string): string[] {
  const metrics = new Map<string, readonly string[]>(MADE)
  for (const [name, facts] of Object.entries(METRICS) as [string, MetricFacts][]) {
    metrics.set(name, facts.labels)
    if (facts.type === 'histogram')
      for (const part of ['bucket', 'sum', 'count']) metrics.set(`${name}_${part}`, facts.labels)
  }
  const unknown: string[] = []
  const labels = new Set<string>(ADDED)
  const bare = expr.replaceAll(/"[^"]*"/g, '""').replaceAll(/\[[^\]]*\]/g, '')
  const grouped = Array.from(bare.matchAll(GROUPING), ([, names = '']) => names.split(/\s*,\s*/)).flat()
  for (const [, name = '', inside = ''] of bare.replaceAll(GROUPING, ' ').matchAll(SELECTOR)) {
    if (WORDS.has(name) || /^\d|^[dhms]$/.test(name)) continue
    const known = metrics.get(name)
    if (known === undefined) unknown.push(name)
    for (const label of known ?? []) labels.add(label)
    for (const [, label = ''] of inside.matchAll(/(\w+)\s*(?:=|!=|=~|!~)/g))
      if (!ADDED.has(label) && known?.includes(label) !== true) unknown.push(`${name}{${label}}`)
  }
  return [...unknown, ...grouped.filter((label) => label !== '' && !labels.has(label))]
}
