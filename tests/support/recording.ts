import type { Scrape } from './exposition.ts'

/** What was recorded of instances, and how it stands for a longer time. */
export interface Recording {
  /** By instance, as many of each. */
  readonly scrapes: ReadonlyMap<string, readonly Scrape[]>
  /**
   * The samples were taken so far apart and are laid a minute apart, as if all took that much longer. Counters count as much
   * more, so that their rates are those that were; gauges are as they were.
   */
  readonly everyMs: number
}

const MINUTE_MS = 60_000

/** What only grows while a process lives. */
const COUNTER = /^\w+_(total|count|sum|bucket)(\{|$)/

/** A test for `promtool test rules`: what instances exposed, one sample a minute, under which no alert may fire at any of these minutes. */
export function silentUnder(
  { scrapes, everyMs }: Recording,
  alerts: readonly string[],
  ruleFile: string,
): string {
  const lines = [
    `rule_files: [${JSON.stringify(ruleFile)}]`,
    'evaluation_interval: 1m',
    'tests:',
    '  - interval: 1m',
  ]
  lines.push('    input_series:')
  let minutes = 0
  for (const [instance, taken] of scrapes) {
    minutes = Math.max(minutes, taken.length)
    for (const key of new Set(taken.flatMap(({ samples }) => [...samples.keys()]))) {
      const scale = COUNTER.test(key) ? MINUTE_MS / everyMs : 1
      const values = taken.map(({ samples }) => scaled(samples.get(key), scale))
      lines.push(
        `      - series: ${JSON.stringify(labelled(key, instance))}`,
        `        values: '${values.join(' ')}'`,
      )
    }
    lines.push(
      `      - series: ${JSON.stringify(labelled('up', instance))}`,
      `        values: '1x${taken.length}'`,
    )
  }
  lines.push('    alert_rule_test:')
  for (let minute = 0; minute < minutes; minute += 1)
    for (const alert of alerts)
      lines.push(`      - { eval_time: ${minute}m, alertname: ${alert}, exp_alerts: [] }`)
  return `${lines.join('\n')}\n`
}

function scaled(value: number | undefined, scale: number): string {
  return value === undefined ? '_' : String(value * scale)
}

/** As Prometheus stores it: a label of ours that is named as one of its own has another name there. */
function labelled(key: string, instance: string): string {
  const added = `job="tidemark",instance="${instance}"`
  const own = key.replace(/([{,])job="/, '$1exported_job="')
  return own.endsWith('}') ? `${own.slice(0, -1)},${added}}` : `${own}{${added}}`
}
