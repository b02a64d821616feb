import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { METRICS } from '../../src/telemetry/metrics/catalog.ts'
import { unknownIn } from './promql.ts'

interface Panel {
  readonly id: number
  readonly title: string
  readonly type: string
  readonly description?: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly { readonly expr: string; readonly refId: string }[]
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } }
}

interface Dashboard {
  readonly title: string
  readonly uid: string
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: unknown }[] }
  readonly panels: readonly Panel[]
}

const file = join(resolve(import.meta.dirname, '../..'), 'ops/grafana.json')
// Its form is what these tests look at.
const dashboard = JSON.parse(readFileSync(file, 'utf8')) as Dashboard
const drawn = dashboard.panels.filter(({ type }) => type !== 'row')

/** Grafana's own variables, as Prometheus would get them. */
const filled = (expr: string): string => expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$\w+/g, '.*')

describe('the Grafana dashboard', () => {
  test('asks for metrics and labels that there are', () => {
    for (const { title, targets = [] } of drawn) {
      assert.ok(targets.length > 0, title)
      for (const { expr } of targets) assert.deepEqual(unknownIn(filled(expr)), [], `${title}: ${expr}`)
    }
  })

  test('adds up what instances count, and takes the greatest of what they read from the database', () => {
    for (const { title, targets = [] } of drawn)
      for (const { expr } of targets)
        for (const [name, { from }] of Object.entries(METRICS)) {
          if (from === 'database' && expr.includes(name))
            assert.match(expr, /\b(?:max|min) by|^(?:max|min)\(/, `${title}: ${expr}`)
        }
  })

  test('has panels with a unit and a sentence, none above another', () => {
    const ids = new Set(dashboard.panels.map(({ id }) => id))
    assert.equal(ids.size, dashboard.panels.length)
    for (const { title, description = '', fieldConfig } of drawn) {
      assert.match(description, /\.$/, title)
      assert.ok(fieldConfig?.defaults.unit !== undefined, title)
    }
    const overlaps = (a: Panel['gridPos'], b: Panel['gridPos']): boolean =>
      a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
    for (const [i, a] of dashboard.panels.entries())
      for (const b of dashboard.panels.slice(i + 1))
        assert.ok(!overlaps(a.gridPos, b.gridPos), `${a.title} lies on ${b.title}`)
  })
})

describe('what the tests tell of an expression', () => {
  test('a metric or a label that is not there', () => {
    assert.deepEqual(
      unknownIn('sum by (source) (rate(tidemark_messages_failed_total{source=~"a.*"}[5m])) > 0.1'),
      [],
    )
    assert.deepEqual(unknownIn('rate(tidemark_messages_gone_total[5m])'), ['tidemark_messages_gone_total'])
    assert.deepEqual(unknownIn('tidemark_is_leader{leader="x"} == 1'), ['tidemark_is_leader{leader}'])
    assert.deepEqual(unknownIn('sum by (tenant) (tidemark_is_leader)'), ['tenant'])
    assert.deepEqual(
      unknownIn('histogram_quantile(0.5, sum by (le) (rate(tidemark_message_latency_seconds_bucket[5m])))'),
      [],
    )
    assert.deepEqual(unknownIn('a_count > 1 unless on (task) label_replace(up, "x", "$1", "y", "(.+)")'), [
      'a_count',
      'task',
    ])
  })
})
