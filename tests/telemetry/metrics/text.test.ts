import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { METRICS } from '../../../src/telemetry/metrics/catalog.ts'
import { createMeter } from '../../../src/telemetry/metrics/meter.ts'
import { Tallies } from '../../../src/telemetry/metrics/tally.ts'
import type { Gauges } from '../../../src/telemetry/metrics/tally.ts'
import { metricsText } from '../../../src/telemetry/metrics/text.ts'
import { readScrape } from '../../support/exposition.ts'
import { promtool, promtoolMissing } from '../../support/promtool.ts'

const LATENCY = 'tidemark_message_latency_seconds'

describe('the text of the metrics', () => {
  test('a histogram adds its buckets up, and each message is counted once', async () => {
    const tallies = new Tallies()
    const meter = createMeter(tallies)
    for (const ms of [3, 5, 40, 900, 7_200_000]) meter.done('orders', ms)
    meter.done('letters', -20) // its row was dated by a clock ahead of ours
    const read = readScrape(await metricsText(tallies, {}))
    const bucket = (le: string, source = 'orders') => read.value(`${LATENCY}_bucket`, { source, le })
    assert.deepEqual(
      ['0.005', '0.01', '0.05', '1', '1800', '+Inf'].map((le) => bucket(le)),
      [2, 2, 3, 4, 4, 5],
    )
    assert.equal(read.value(`${LATENCY}_count`, { source: 'orders' }), 5)
    assert.equal(read.value(`${LATENCY}_sum`, { source: 'orders' }), 7_200.948)
    assert.equal(read.value('tidemark_messages_processed_total', { source: 'orders' }), 5)
    assert.equal(bucket('0.005', 'letters'), 1)
    assert.equal(read.value(`${LATENCY}_sum`, { source: 'letters' }), 0)
  })

  test('what is not known is absent, and what is 0 is there', async () => {
    const tallies = new Tallies()
    tallies.add('tidemark_messages_failed_total', ['orders'], 0)
    const read = readScrape(await metricsText(tallies, { tidemark_ready: [{ values: [], value: 0 }] }))
    assert.equal(read.value('tidemark_messages_failed_total', { source: 'orders' }), 0)
    assert.equal(read.value('tidemark_ready'), 0)
    assert.deepEqual(
      read.helped.filter((name) => name.startsWith('tidemark_')),
      ['tidemark_messages_failed_total', 'tidemark_ready'],
    )
  })

  test('any name is a label, and a text that is made again is not counted again', async () => {
    const tallies = new Tallies()
    tallies.add('tidemark_jobs_total', ['say "no" \\ or\nyes', 'done'], 2)
    const gauges: Gauges = {
      tidemark_slots_in_use: [
        { values: ['orders', '🐌 {a="b"}'], value: 3 },
        { values: ['orders', 'other'], value: 4 },
        { values: ['orders', 'other'], value: 5 },
      ],
    }
    await metricsText(tallies, gauges)
    const text = await metricsText(tallies, gauges)
    assert.ok(text.includes('tidemark_jobs_total{job="say \\"no\\" \\\\ or\\nyes",outcome="done"} 2\n'), text)
    assert.ok(text.includes('tidemark_slots_in_use{source="orders",group_key="🐌 {a=\\"b\\"}"} 3\n'), text)
    assert.equal(readScrape(text).value('tidemark_slots_in_use', { source: 'orders', group_key: 'other' }), 9)
  })

  test('promtool finds nothing to say about any of them', { skip: promtoolMissing }, async () => {
    const tallies = new Tallies()
    const gauges: Record<string, unknown> = {}
    for (const [name, { type, labels }] of Object.entries(METRICS)) {
      const values = labels.map((label) => `a ${label}`)
      if (type === 'gauge') gauges[name] = [{ values, value: 1.5 }]
      // Of any name and so many labels, which the types ask of whoever counts.
      else if (type === 'counter') tallies.add(name as 'tidemark_deliveries_total', values as [string], 3)
      else tallies.buckets(name as 'tidemark_leader_gap_seconds', values as [string]).observe(0.3)
    }
    createMeter(tallies).done('orders', 12)
    const text = await metricsText(tallies, gauges)
    assert.deepEqual(readScrape(text).helped, Object.keys(METRICS))
    assert.equal(promtool(['check', 'metrics'], text), '')
  })
})
