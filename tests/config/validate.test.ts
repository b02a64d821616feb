import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { defineConfig } from '../../src/config/define.ts'
import { resolveConfig } from '../../src/config/validate.ts'
import { ConfigInvalid } from '../../src/errors.ts'

const source = { table: 'service_ops.orders', id: 'order_id', createdAt: 'created_at' }
const handle = (): void => {}
const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`
const deliver = { url: 'https://example.com/hooks', secret: `whsec_${'QUJD'.repeat(8)}` }
const processor = { from: 'orders', contract: 'external', handle }

function faultsOf(config: unknown): string[] {
  try {
    resolveConfig(config)
  } catch (error) {
    assert.ok(error instanceof ConfigInvalid)
    return error.faults.map(({ what }) => what).sort()
  }
  return []
}

function faultTexts(config: unknown): string {
  try {
    resolveConfig(config)
    return ''
  } catch (error) {
    return error instanceof Error ? error.message : ''
  }
}

describe('a config that is right', () => {
  test('has its defaults filled in, its durations in milliseconds, and is frozen through and through', () => {
    const config = defineConfig({
      pollers: { orders: { source, every: '10s', retention: '1d' } },
      intakes: { events: {}, hooks: { maxBodyBytes: 10, signature: { secret: SECRET }, retention: '1d' } },
      processors: { billing: { from: 'orders', contract: 'transactional', handle, backoff: { base: '2s' } } },
      jobs: { report: { cron: '0 3 * * *', tz: 'Europe/Berlin', handle } },
      onShutdown: handle,
      log: { redact: ['name'] },
    })
    const resolved = resolveConfig(config)
    assert.deepEqual(resolved, {
      pollers: [
        {
          name: 'orders',
          source: {
            ...source,
            payload: null,
            groupKey: null,
            traceId: null,
            where: null,
            timeZone: null,
            latenessMs: null,
          },
          everyMs: 10_000,
          cron: null,
          startFrom: null,
          pageSize: 500,
          retentionMs: 86_400_000,
          sweepMs: 3_600_000,
        },
      ],
      intakes: [
        { name: 'events', maxBodyBytes: 1_048_576, secret: null, retentionMs: 7 * 86_400_000 },
        { name: 'hooks', maxBodyBytes: 10, secret: SECRET, retentionMs: 86_400_000 },
      ],
      processors: [
        {
          name: 'billing',
          from: ['orders'],
          concurrency: 10,
          maxAttempts: 10,
          backoff: { baseMs: 2000, maxMs: 300_000 },
          timeoutMs: 60_000,
          exclusive: false,
          slots: null,
          ordered: false,
          work: { kind: 'transactional', handle },
        },
      ],
      jobs: [
        {
          name: 'report',
          schedule: '0 3 * * *',
          tz: 'Europe/Berlin',
          missed: 'once',
          retryLimit: 2,
          timeoutMs: 300_000,
          handle,
        },
      ],
      onShutdown: [handle],
      log: { redact: ['name'] },
    })
    assert.equal(Object.isFrozen(resolved.pollers[0]?.source), true)
    assert.equal(Object.isFrozen(resolved.processors[0]?.work), true)
  })

  test('may be empty, and takes intervals from the environment', () => {
    assert.deepEqual(resolveConfig({}).pollers, [])
    const intervals = new Map([['orders', 3000]])
    assert.equal(resolveConfig({ pollers: { orders: { source } } }, { intervals }).pollers[0]?.everyMs, 3000)
  })

  test('with handleBatch needs no contract, and batches 100', () => {
    const config = {
      pollers: { orders: { source } },
      processors: { p: { from: ['orders'], handleBatch: handle } },
    }
    assert.deepEqual(resolveConfig(config).processors[0]?.work, { kind: 'batch', handle, batchSize: 100 })
  })
})

describe('a config that is wrong', () => {
  test('has all its faults named at once', () => {
    const faults = faultsOf({
      pollers: {
        Orders: { source: { table: 'a b', id: '', createdAt: 'c', created: 'c' }, every: '10ms' },
        items: {
          source: { ...source, timeZone: 'Mars/Base', where: 'a) OR (b' },
          pageSize: 0,
          startFrom: 'yesterday',
        },
      },
      processors: { p: { from: 'nobody', handle: 7, contract: 'maybe', timeout: 'long' } },
      jobs: { j: { cron: 'daily' }, k: { cron: '61 3 * * *', tz: 'Mars/Base', handle } },
      extra: 1,
    })
    assert.deepEqual(faults, [
      'extra',
      'jobs.j.cron',
      'jobs.j.handle',
      'jobs.k.cron',
      'jobs.k.tz',
      'pollers.Orders',
      'pollers.Orders.every',
      'pollers.Orders.source.created',
      'pollers.Orders.source.id',
      'pollers.Orders.source.table',
      'pollers.items.pageSize',
      'pollers.items.source.timeZone',
      'pollers.items.source.where',
      'pollers.items.startFrom',
      'processors.p.contract',
      'processors.p.from',
      'processors.p.handle',
      'processors.p.timeout',
    ])
  })

  test('has its secrets named without their value', () => {
    const secrets = ['hunter2', 'whsec_hunter2', 'aHVudGVyMg==']
    for (const secret of secrets) {
      const config = { intakes: { hooks: { signature: { secret } } } }
      assert.deepEqual(faultsOf(config), ['intakes.hooks.signature.secret'])
      assert.doesNotMatch(faultTexts(config), new RegExp(secret))
      // The secret where its option should be.
      const short = { intakes: { hooks: { signature: secret } } }
      assert.deepEqual(faultsOf(short), ['intakes.hooks.signature'])
      assert.doesNotMatch(faultTexts(short), new RegExp(secret))
    }
  })

  test('is one whose intakes are not what they may be', () => {
    const faults = faultsOf({
      pollers: { orders: { source } },
      intakes: {
        orders: {},
        events: { maxBodyBytes: 2 ** 25, retention: '1ms', signature: {}, token: 'x' },
      },
      processors: { p: { ...processor, from: ['events', 'orders', 'nothing'] } },
    })
    assert.deepEqual(faults, [
      'intakes.events.maxBodyBytes',
      'intakes.events.retention',
      'intakes.events.signature.secret',
      'intakes.events.token',
      'intakes.orders',
      'processors.p.from',
    ])
  })

  const pollers = { orders: { source }, items: { source } }
  const cases: [what: string, config: unknown, fault: string[]][] = [
    ['no object', 'config', ['the config']],
    ['a name that is taken', { pollers, jobs: { orders: { cron: '* * * * *', handle } } }, ['jobs.orders']],
    ['a name that is too long', { pollers: { ['a'.repeat(64)]: { source } } }, [`pollers.${'a'.repeat(64)}`]],
    [
      'a source with two processors',
      { pollers, processors: { a: processor, b: { ...processor, from: ['items', 'orders'] } } },
      ['processors.b.from'],
    ],
    [
      'a source twice',
      { pollers, processors: { a: { ...processor, from: ['orders', 'orders'] } } },
      ['processors.a.from'],
    ],
    ['no source', { pollers, processors: { a: { ...processor, from: [] } } }, ['processors.a.from']],
    [
      'handle without a contract',
      { pollers, processors: { a: { from: 'orders', handle } } },
      ['processors.a.contract'],
    ],
    [
      'neither handle nor handleBatch',
      { pollers, processors: { a: { from: 'orders' } } },
      ['processors.a.handle'],
    ],
    [
      'handle and handleBatch',
      { pollers, processors: { a: { ...processor, handleBatch: handle } } },
      ['processors.a.handleBatch'],
    ],
    [
      'handle and deliver',
      { pollers, processors: { a: { from: 'orders', handle, deliver } } },
      ['processors.a.deliver'],
    ],
    [
      'deliver in a transaction',
      { pollers, processors: { a: { from: 'orders', contract: 'transactional', deliver } } },
      ['processors.a.contract'],
    ],
    [
      'a delivery that may take longer than its processor',
      {
        pollers,
        processors: { a: { from: 'orders', timeout: '5s', deliver: { ...deliver, timeout: '6s' } } },
      },
      ['processors.a.deliver.timeout'],
    ],
    [
      'a delivery without address and secret',
      { pollers, processors: { a: { from: 'orders', deliver: {} } } },
      ['processors.a.deliver.secret', 'processors.a.deliver.url'],
    ],
    [
      'handleBatch in a transaction',
      { pollers, processors: { a: { from: 'orders', contract: 'transactional', handleBatch: handle } } },
      ['processors.a.contract'],
    ],
    [
      'batchSize without handleBatch',
      { pollers, processors: { a: { ...processor, batchSize: 9 } } },
      ['processors.a.batchSize'],
    ],
    [
      'a backoff upside down',
      { pollers, processors: { a: { ...processor, backoff: { base: '1h', max: '1s' } } } },
      ['processors.a.backoff.max'],
    ],
    [
      'an interval longer than a timer',
      { pollers: { orders: { source, every: '30d' } } },
      ['pollers.orders.every'],
    ],
    [
      'a job that may run for longer than the queue allows',
      { jobs: { j: { cron: '0 3 * * *', handle, timeout: '24h' } } },
      ['jobs.j.timeout'],
    ],
    [
      'a job by two schedules',
      { jobs: { j: { cron: '0 3 * * *', rrule: 'FREQ=DAILY', handle } } },
      ['jobs.j.rrule'],
    ],
    ['a rule that no parser reads', { jobs: { j: { rrule: 'FREQ=OFTEN', handle } } }, ['jobs.j.rrule']],
    [
      'a zone and a way with missed ticks, and no ticks',
      { jobs: { j: { tz: 'UTC', missed: 'skip', handle } } },
      ['jobs.j.missed', 'jobs.j.tz'],
    ],
    [
      'a poller by interval and by cron',
      { pollers: { orders: { source, every: '1m', cron: '0 3 * * *' } } },
      ['pollers.orders.cron'],
    ],
    ['a poller with a zone alone', { pollers: { orders: { source, tz: 'UTC' } } }, ['pollers.orders.tz']],
    ['a clean-up that is none', { onShutdown: ['x'] }, ['onShutdown']],
  ]
  for (const [what, config, fault] of cases) {
    test(`has ${what}: it is named`, () => assert.deepEqual(faultsOf(config), fault))
  }

  test('has a cron expression that its form does not betray: the reason is given', () => {
    const of = (cron: string) => faultTexts({ jobs: { j: { cron, handle } } })
    assert.match(
      of('61 3 * * *'),
      /jobs\.j\.cron is "61 3 \* \* \*": expected a cron expression .*got value 61 expected range 0-59/,
    )
    assert.match(of('* * * * MOO'), /jobs\.j\.cron/)
    assert.match(of('5-1 * * * *'), /jobs\.j\.cron/)
    assert.match(of('0 0 31 2 *'), /jobs\.j\.cron/)
    assert.deepEqual(faultsOf({ jobs: { j: { cron: '*/5 9-17 * JAN-MAR MON#1', handle } } }), [])
  })
})

test('a table may have any name that SQL can quote', () => {
  const faults = (table: string) => faultsOf({ pollers: { p: { source: { ...source, table } } } })
  for (const table of ['"my ""odd"" schema"."t"', '"a.b"."c d"', 'Orders', '"😀"'])
    assert.deepEqual(faults(table), [], table)
  for (const table of ['"a', 'a.b.c', '"a"b', '""', 'a b', '.a'])
    assert.deepEqual(faults(table), ['pollers.p.source.table'], table)
})

describe('a condition', () => {
  const texts = (where: string): string => faultTexts({ pollers: { p: { source: { ...source, where } } } })
  for (const where of [
    "state = '--)' AND note <> e'\\')'",
    '"odd"")" = $$)$$ AND tag = $x$ ; $$ $x$',
    "(a OR b) AND tags[1] = 'x' AND n - -1 > 0",
  ])
    test(`is taken as it stands: ${where}`, () => assert.equal(texts(where), ''))
  for (const [where, reason] of [
    ['1=1) OR (1=1', /its brackets do not match: a \) too many/],
    ['(a[1)]', /a \) too many/],
    ['(a', /a \) is missing/],
    ['true --', /it has a comment/],
    ['true /* x */', /it has a comment/],
    ['true; DROP TABLE t', /it has a ;/],
    ['id = $1', /the parameter \$1/],
    ["a = 'x", /a ' is not closed/],
    ['"a = 1', /a " is not closed/],
  ] as const)
    test(`is refused when it is none: ${where}`, () => assert.match(texts(where), reason))
})
