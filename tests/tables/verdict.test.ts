import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StatusFacts } from '../../src/tables/status.ts'
import { verdictAway, verdictOf, verdictOfInvariants } from '../../src/tables/verdict.ts'

const TASK = {
  id: 1,
  paused: false,
  paused_by: null,
  paused_at: null,
  paused_seconds: null,
  orphaned: false,
  leader: 'one',
  term: 1,
}
const POLLER: StatusFacts['pollers'][number] = {
  ...TASK,
  poller: 'orders',
  source_table: 'shop.orders',
  interval_seconds: 10,
  wake: false,
  edge: null,
  edge_lag_seconds: 6,
  lag_seconds: 4,
  rows_total: 0,
  late_rows_total: 0,
  last_run_at: null,
  next_run_at: null,
  last_outcome: 'ran',
  last_rows_inserted: 0,
  last_error: null,
}
const PROCESSOR: StatusFacts['processors'][number] = {
  ...TASK,
  processor: 'billing',
  sources: ['orders'],
  exclusive: false,
  leader: null,
  waiting: 0,
  processing: 0,
  failed: 0,
  dead: 0,
  oldest_open_seconds: null,
  waited_seconds: null,
}
const INSTANCE: StatusFacts['instances'][number] = {
  instance_id: 'one',
  state: 'ready',
  release: '1',
  region: null,
  machine_id: null,
  process_group: null,
  leads: [],
  seen_seconds_ago: 1,
  started_at: '2026-05-01T10:00:00Z',
}

function facts(changes: {
  poller?: Partial<typeof POLLER>
  processor?: Partial<typeof PROCESSOR>
  rest?: Partial<StatusFacts>
}): StatusFacts {
  return {
    at: '2026-05-01T10:00:00Z',
    pollers: [{ ...POLLER, ...changes.poller }],
    processors: [{ ...PROCESSOR, ...changes.processor }],
    jobs: [],
    slots: [],
    circuits: [],
    leaders: [],
    leader_changes: [],
    instances: [INSTANCE],
    ...changes.rest,
  }
}

/** Kinds of the findings, those that need a person marked. */
const kinds = (changes: Parameters<typeof facts>[0]): string[] =>
  verdictOf(facts(changes)).findings.map(({ kind, needs_person: needed }) => `${kind}${needed ? '!' : ''}`)

test('all is well, and why', () => {
  assert.deepEqual(verdictOf(facts({})), {
    level: 'well',
    sentence: 'All is well: 1 poller has its leader, nothing is open, 1 of 1 instance is ready.',
    findings: [],
  })
  const { sentence } = verdictOf(
    facts({ processor: { waiting: 1, oldest_open_seconds: 3, waited_seconds: 3 } }),
  )
  assert.match(sentence, /the oldest open message is 3\.0 s old/)
})

test('what needs a person is counted and named, before what is only to be known', () => {
  const { level, sentence, findings } = verdictOf(
    facts({
      poller: { leader: null },
      processor: { dead: 2, paused: true, paused_by: 'anna', paused_seconds: 7200 },
    }),
  )
  assert.equal(level, 'person')
  assert.equal(sentence, '2 things need a person: orders has no leader; 2 messages of billing are DEAD.')
  assert.deepEqual(
    findings.map(({ kind }) => kind),
    ['no_leader', 'dead_messages', 'paused'],
  )
  assert.match(findings[1]?.remedy ?? '', /inbox list --status DEAD --source orders/)
})

test('a note is well with something to know', () => {
  const { level, sentence } = verdictOf(
    facts({ poller: { paused: true, paused_by: 'anna', paused_seconds: 7200 } }),
  )
  assert.deepEqual([level, sentence], ['note', 'All is well, but orders is paused for 2 h by anna.'])
})

test('more findings than a sentence bears are counted', () => {
  const broken = [1, 2, 3, 4, 5].map((n) => ({
    name: `rule_${n}`,
    ok: false,
    found: 1,
    detail: '',
    query: '',
  }))
  assert.equal(
    verdictOfInvariants(broken).sentence,
    '5 things need a person: rule_1 does not hold (1 violation); rule_2 does not hold (1 violation); rule_3 does not hold (1 violation); and 2 more.',
  )
})

test('who leads: nobody is a finding, unless somebody paused it or nobody has it', () => {
  assert.deepEqual(kinds({ poller: { leader: null } }), ['no_leader!'])
  assert.deepEqual(kinds({ poller: { leader: null, paused: true } }), ['paused'])
  assert.deepEqual(kinds({ poller: { leader: null, orphaned: true } }), ['orphaned'])
  assert.deepEqual(kinds({ processor: { exclusive: true } }), ['no_leader!'])
})

test('no instance is one finding, and not what follows from it for each task', () => {
  const gone = { poller: { leader: null, orphaned: true }, processor: { orphaned: true, waiting: 3 } }
  assert.deepEqual(kinds({ ...gone, rest: { instances: [] } }), ['no_instance!'])
  assert.deepEqual(
    kinds(gone),
    ['orphaned!', 'orphaned'],
    'with one, what waits for an orphan needs somebody',
  )
})

test('passes: a failed one, and none for three intervals and half a minute', () => {
  assert.deepEqual(kinds({ poller: { last_outcome: 'failed', last_error: 'TypeError: no' } }), [
    'pass_failed!',
  ])
  assert.deepEqual(kinds({ poller: { lag_seconds: 59 } }), [])
  assert.deepEqual(kinds({ poller: { lag_seconds: 61 } }), ['lag!'])
  assert.deepEqual(kinds({ poller: { lag_seconds: 61, interval_seconds: 3600 } }), [])
  assert.deepEqual(kinds({ poller: { lag_seconds: 61, paused: true } }), ['paused'])
  assert.deepEqual(kinds({ poller: { edge_lag_seconds: 901 } }), ['edge_lag'])
})

test('a backlog is stuck when nothing is in work, and behind when something is', () => {
  assert.deepEqual(kinds({ processor: { waiting: 9, waited_seconds: 59 } }), [])
  assert.deepEqual(kinds({ processor: { waiting: 9, waited_seconds: 61 } }), ['backlog_stuck!'])
  assert.deepEqual(kinds({ processor: { waiting: 9, processing: 1, waited_seconds: 61 } }), [])
  assert.deepEqual(kinds({ processor: { waiting: 9, processing: 1, waited_seconds: 601 } }), [
    'backlog_behind',
  ])
  assert.deepEqual(kinds({ processor: { waiting: 9, waited_seconds: 9999, paused: true } }), ['paused'])
  assert.deepEqual(
    kinds({ processor: { failed: 1, oldest_open_seconds: 9999 } }),
    [],
    'it waits for its time',
  )
})

test('instances that drain or are lost, targets, paused keys and jobs', () => {
  const instances = [INSTANCE, { ...INSTANCE, state: 'draining' }, { ...INSTANCE, state: 'lost' }]
  assert.deepEqual(kinds({ rest: { instances } }), ['draining', 'lost'])
  const circuits = [
    { target: 'https://x', instance_id: 'one', class: '503', open_seconds: 9, next_probe_seconds: 1 },
  ]
  assert.deepEqual(kinds({ rest: { circuits } }), ['target_away!'])
  const slots = [
    {
      source: 'orders',
      group_key: '*',
      paused: true,
      max_slots: 2,
      in_use: 0,
      oldest_held_seconds: null,
      holders: [],
    },
  ]
  assert.deepEqual(kinds({ rest: { slots } }), ['paused'])
  const jobs = [{ ...TASK, job: 'report', paused: true }]
  assert.deepEqual(kinds({ rest: { jobs } }), ['paused'])
})

test('a database that is away, one in which nothing ran, and invariants', () => {
  assert.equal(verdictAway('Timeout').sentence, '1 thing needs a person: the database is away: Timeout.')
  const empty = { pollers: [], processors: [], instances: [] }
  assert.equal(verdictOf(facts({ rest: empty })).sentence, 'All is well: nothing has run here yet.')
  const results = [
    { name: 'a', ok: true, found: 0, detail: '', query: '' },
    { name: 'b', ok: null, found: null, detail: '', query: '' },
  ]
  assert.equal(verdictOfInvariants(results).sentence, '1 thing needs a person: b could not be checked.')
  assert.equal(verdictOfInvariants(results.slice(0, 1)).sentence, 'All is well: all 1 invariants hold.')
  assert.deepEqual(verdictOf(facts({}), results).level, 'person')
})
