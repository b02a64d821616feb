import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measureProbes, slowerPercent } from '../../scripts/bench/probes/probes.ts'
import { startBenchServer } from '../../scripts/bench/server.ts'

test('how much slower the work is, is told by the medians of the rounds', () => {
  assert.equal(Math.round(slowerPercent([100, 1, 100], [90, 90, 5])), 10)
  assert.ok(slowerPercent([100], [110]) < 0)
})

test('what asks at both rates is answered, every row is done once, and the database is not looked at for each', async (t) => {
  const server = await startBenchServer()
  t.after(() => server.end())
  const { json, text } = await measureProbes(server, { rows: 1_000, rounds: 1, seconds: 3 }, () => undefined)
  assert.equal(json.changesOfLeader, 0)
  assert.ok(json.rows >= 3_000, `${json.rows} rows`)
  assert.deepEqual(
    json.watched.map(({ rate }) => rate),
    [200, 2_000],
  )
  for (const { answers, looksPerSecond, metricsReadsPerSecond } of json.watched) {
    assert.equal(answers.failed, 0)
    assert.ok(answers.askedPerSecond > 50, `${answers.askedPerSecond} requests a second`)
    assert.ok(answers.perSecond > 50, `${answers.perSecond} answers a second`)
    assert.ok(looksPerSecond <= 2, `${looksPerSecond} looks a second`)
    // Three seconds: one reading, or two at their ends.
    assert.ok(metricsReadsPerSecond <= 1, `${metricsReadsPerSecond} readings a second`)
  }
  assert.match(text, /asked 2,?000 times a second/)
})
