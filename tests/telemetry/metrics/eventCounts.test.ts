import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Log } from '../../../src/telemetry/log.ts'
import { countingLog } from '../../../src/telemetry/metrics/eventCounts.ts'
import { Tallies } from '../../../src/telemetry/metrics/tally.ts'
import { recordedLog } from '../../db/recordedLog.ts'

/** A log that leaves every line out. */
function deafLog() {
  const recorded = recordedLog()
  const log: Log = {
    event: recorded.event,
    leavesOut: () => true,
    child: () => log,
    close: () => Promise.resolve(),
  }
  const tallies = new Tallies()
  const count = (name: Parameters<Tallies['counter']>[0]) =>
    Object.fromEntries(tallies.counter(name).map(({ values, value }) => [values.join(' '), value]))
  return { log: countingLog(log, tallies), tallies, count, recorded }
}

const MESSAGE = { source: 'orders', message_id: 'a' }

test('what is counted is never left unsaid, and what is left out of the log is counted all the same', () => {
  const { log, count, recorded } = deafLog()
  assert.equal(log.leavesOut?.('message_failed'), false)
  assert.equal(log.leavesOut('message_done'), true)
  log.event('message_failed', '', { ...MESSAGE, class: 'Error' })
  log.child({ task: 'x' }).event('message_dead', '', { ...MESSAGE, class: 'Error' })
  assert.deepEqual(count('tidemark_messages_failed_total'), { orders: 2 })
  assert.deepEqual(count('tidemark_messages_dead_total'), { orders: 1 })
  assert.deepEqual(recorded.names, ['message_failed', 'message_dead'], 'every line reaches the log')
})

test('a hand-over is counted by whoever takes it over, and not by whoever gives the lease up', () => {
  const { log, tallies, count } = deafLog()
  log.event('leader_handed_over', '', { task: 'orders', term: 1 })
  assert.deepEqual(count('tidemark_leader_changes_total'), {})
  log.event('leader_handed_over', '', { task: 'orders', term: 2, from: 'b', gap_ms: 30 })
  log.event('leader_took_over', '', { task: 'orders', term: 3, from: null, gap_ms: null })
  log.event('leader_elected', '', { task: 'orders', term: 4 })
  assert.deepEqual(count('tidemark_leader_changes_total'), {
    'orders handed_over': 1,
    'orders took_over': 1,
    'orders elected': 1,
  })
  const gaps = tallies.histogram('tidemark_leader_gap_seconds')
  assert.deepEqual(
    gaps.map(({ values, value }) => [...values, value.count, value.sum]),
    [['handed_over', 1, 0.03]],
  )
})

test('a message that was given back is interrupted; one that somebody else has by now is only reclaimed', () => {
  const { log, count } = deafLog()
  log.event('message_interrupted', '', { ...MESSAGE, reason: 'drain' })
  log.event('message_interrupted', '', { ...MESSAGE, reason: 'claimed elsewhere' })
  log.event('reclaimed_instance', '', { dead_instance: 'b', messages: 7, reason: 'answer lost' })
  assert.deepEqual(count('tidemark_messages_interrupted_total'), { orders: 1 })
  assert.deepEqual(count('tidemark_messages_reclaimed_total'), { answer_lost: 7 })
})
