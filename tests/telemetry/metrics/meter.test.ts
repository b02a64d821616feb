import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DatabaseError } from 'pg'
import { beginAtZero } from '../../../src/telemetry/metrics/known.ts'
import { createMeter } from '../../../src/telemetry/metrics/meter.ts'
import { Tallies } from '../../../src/telemetry/metrics/tally.ts'

function failure(code: string): DatabaseError {
  const error = new DatabaseError(code, 0, 'error')
  return Object.assign(error, { code, severity: 'ERROR' })
}

const counts = (tallies: Tallies, name: Parameters<Tallies['counter']>[0]) =>
  Object.fromEntries(tallies.counter(name).map(({ values, value }) => [values.join(' '), value]))

test('errors of the database are counted in five classes', () => {
  const tallies = new Tallies()
  const meter = createMeter(tallies)
  for (const code of ['40P01', '40001', '57014', '55P03', '57P01', '53300', '42P01'])
    meter.databaseFailed(failure(code))
  meter.databaseFailed(new Error('timeout exceeded when trying to connect'))
  meter.databaseFailed('what is no error')
  assert.deepEqual(counts(tallies, 'tidemark_database_errors_total'), {
    deadlock: 1,
    serialization: 1,
    timeout: 2,
    connection: 3,
    other: 2,
  })
})

test('two sources in turn are told apart', (t) => {
  const tallies = new Tallies()
  const meter = createMeter(tallies)
  const asked = t.mock.method(tallies, 'buckets')
  for (const source of ['a', 'b', 'a', 'a', 'b']) meter.done(source, 1)
  assert.equal(asked.mock.callCount(), 2, 'and looked up once each')
  meter.handled('b', 2)
  const of = (name: 'tidemark_message_latency_seconds' | 'tidemark_handler_duration_seconds') =>
    tallies.histogram(name).map(({ values, value }) => `${values.join()} ${value.count}`)
  assert.deepEqual(of('tidemark_message_latency_seconds'), ['a 3', 'b 2'])
  assert.deepEqual(of('tidemark_handler_duration_seconds'), ['b 1'])
})

test('requests under way are those that have begun and are not answered', () => {
  const meter = createMeter(new Tallies())
  const [first, second] = [meter.requested(), meter.requested()]
  assert.equal(meter.activeRequests, 2)
  first()
  second()
  assert.equal(meter.activeRequests, 0)
})

test('every series that the config promises is there at 0, and what is counted already stays', () => {
  const tallies = new Tallies()
  tallies.add('tidemark_sweep_found_total', ['orders'], 3)
  const none = { sources: [], pollers: [], intakes: [], led: [], jobs: [], delivers: false }
  beginAtZero(tallies, {
    ...none,
    sources: ['orders'],
    pollers: ['orders'],
    led: ['orders'],
    jobs: ['nightly'],
  })
  assert.deepEqual(counts(tallies, 'tidemark_sweep_found_total'), { orders: 3 })
  assert.deepEqual(counts(tallies, 'tidemark_leader_changes_total'), {
    'orders elected': 0,
    'orders handed_over': 0,
    'orders took_over': 0,
  })
  assert.deepEqual(counts(tallies, 'tidemark_jobs_total'), { 'nightly done': 0, 'nightly failed': 0 })
  assert.deepEqual(counts(tallies, 'tidemark_deliveries_total'), {})
})
