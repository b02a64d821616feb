import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { promtool, promtoolMissing } from '../support/promtool.ts'
import { unknownIn } from './promql.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8')

/** The names that other teams' routes and silences rely on. */
const ALERTS = [
  'TidemarkHighErrorRate',
  'TidemarkWorkerDown',
  'TidemarkQueueBacklog',
  'TidemarkBacklogStuck',
  'TidemarkNoLeader',
  'TidemarkLeaderFlapping',
  'TidemarkEdgeLag',
  'TidemarkSweepFound',
  'TidemarkProcessingRateLow',
  'TidemarkDeadMessages',
  'TidemarkStuckMessages',
  'TidemarkPoolPressure',
  'TidemarkStaleWrites',
  'TidemarkVerifyFailing',
  'TidemarkMissedRuns',
]

/** Each rule's name and text; one alert may have a rule for each severity. */
const rules = read('ops/alerts.yml')
  .split(/^ {6}- alert: /m)
  .slice(1)
  .map((text) => [text.slice(0, text.indexOf('\n')), text] as const)

describe('the alert rules', () => {
  test('are those that are promised', () => {
    assert.deepEqual([...new Set(rules.map(([name]) => name))], ALERTS)
  })

  test('have a severity, a sentence, and a section of the docs that says what it means, what to look at and what to do', () => {
    const docs = new Map(
      read('docs/alerts.md')
        .split(/^## /m)
        .slice(1)
        .map((text) => [text.slice(0, text.indexOf('\n')), text] as const),
    )
    assert.deepEqual([...docs.keys()], ALERTS)
    for (const [name, text] of rules) {
      const severity = /^ +severity: (warning|critical)$/m.exec(text)?.[1] ?? ''
      assert.match(text, /^ +summary: '.+\.'$/m, name)
      assert.ok(text.includes(`runbook_url: docs/alerts.md#${name.toLowerCase()}\n`), name)
      const section = docs.get(name) ?? ''
      assert.match(section, new RegExp(`^_${severity}: `, 'mi'), name)
      for (const part of ['**Means.**', '**Look.**', '**Do.**'])
        assert.ok(section.includes(part), `${name} ${part}`)
    }
  })

  test('ask for metrics and labels that there are', () => {
    for (const [name, text] of rules) {
      const expr = /expr: ([\s\S]*?)\n {8}\w/.exec(text)?.[1] ?? ''
      assert.deepEqual(unknownIn(expr), [], name)
    }
  })

  test('are each tested for firing and for not firing', () => {
    const tests = read('ops/alerts.test.yml')
    const ends = Array.from(tests.matchAll(/alertname: (\w+)\n +exp_alerts:( \[\])?/g), ([, name, none]) => ({
      name,
      fires: none === undefined,
    }))
    for (const name of ALERTS) {
      const own = ends.filter((end) => end.name === name)
      assert.ok(own.some(({ fires }) => fires) && own.some(({ fires }) => !fires), name)
    }
  })

  test('are right, and do what their tests say, as promtool sees it', { skip: promtoolMissing }, () => {
    assert.match(
      promtool(['check', 'rules', join(ROOT, 'ops/alerts.yml')]),
      new RegExp(`SUCCESS: ${rules.length} rules found`),
    )
    assert.match(promtool(['test', 'rules', join(ROOT, 'ops/alerts.test.yml')]), /SUCCESS/)
  })
})

test('every metric is in the docs, with its type, its labels and its meaning', async () => {
  const { METRICS } = await import('../../src/telemetry/metrics/catalog.ts')
  const rows = new Map(
    Array.from(
      read('docs/metrics.md').matchAll(/^\| `(\w+)` +\| (\w+) +\| (.*?) +\| (.*?) +\|$/gm),
      ([, name, ...cells]) => [name, cells] as const,
    ),
  )
  assert.deepEqual([...rows.keys()].sort(), Object.keys(METRICS).sort())
  for (const [name, { type, labels, help }] of Object.entries(METRICS)) {
    const shown = labels.length === 0 ? '–' : labels.map((label) => `\`${label}\``).join(', ')
    assert.deepEqual(rows.get(name), [type, shown, help], name)
  }
})
