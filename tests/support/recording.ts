import type { Scrape } from './exposition.ts'

/**
 * A test for `promtool test rules`: what instances exposed, one sample a minute, under which no alert may fire at any of these minutes.
 * @param scrapes by instance, as many of each
 */
export function silentUnder(
  scrapes: ReadonlyMap<string, readonly Scrape[]>,
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
      const values = taken.map(({ samples }) => samples.get(key) ?? '_')
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

/** As Prometheus stores it: a label of ours that is named as one of its own has another name there. */
function labelled(key: string, instance: string): string {
  const added = `job="tidemark",instance="${instance}"`
  const own = key.replace(/([{,])job="/, '$1exported_job="')
  return own.endsWith('}') ? `${own.slice(0, -1)},${added}}` : `${own}{${added}}`
}
