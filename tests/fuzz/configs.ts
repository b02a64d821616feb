import fc from 'fast-check'
import { anyText, textLike } from './texts.ts'

export const CRON = [
  '0 3 * * *',
  '*/5 9-17 * * MON-FRI',
  '0 0 29 2 *',
  '0 0 L * *',
  '0 12 ? * 2#1',
  '0 0 31 2 *',
]
export const RULES = [
  'FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17;BYMINUTE=0;BYSECOND=0',
  'DTSTART;TZID=Europe/Berlin:20260101T090000\nRRULE:FREQ=DAILY;INTERVAL=2;COUNT=10',
  'FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29',
  'RRULE:FREQ=WEEKLY;BYDAY=MO,WE\nEXDATE:20260105T090000',
]
export const DURATIONS = ['500ms', '30s', '5m', '1h', '7d', '1.5h', '0s']

const handle = (): void => undefined

/** A config that is right, its leaves to be replaced. */
export const RIGHT = {
  pollers: {
    orders: {
      source: {
        table: 'shop.orders',
        id: 'id',
        createdAt: 'created_at',
        payload: ['a', 'b'],
        groupKey: 'tenant',
        where: "state <> 'draft'",
        lateness: '10m',
      },
      every: '5s',
      startFrom: '2026-01-31T12:00:00Z',
      pageSize: 500,
      retention: '7d',
    },
  },
  intakes: { hooks: { maxBodyBytes: 1_000, signature: { secret: `whsec_${'A'.repeat(32)}` } } },
  processors: {
    packing: {
      from: 'orders',
      contract: 'transactional',
      slots: { perKey: 2 },
      backoff: { base: '1s' },
      handle,
    },
    sending: { from: ['hooks'], deliver: { url: 'https://a.example/x', secret: `whsec_${'A'.repeat(32)}` } },
  },
  jobs: { nightly: { cron: '0 3 * * *', tz: 'Europe/Berlin', handle }, monthly: { rrule: RULES[0], handle } },
  log: { redact: ['password'] },
}

/** What may stand where a value should. */
export const leaf = (): fc.Arbitrary<unknown> =>
  fc.oneof(
    textLike(...DURATIONS, ...CRON, ...RULES, 'orders', 'hooks', "a = 'b'", 'UTC', 'https://a.example'),
    fc.anything({ maxDepth: 2 }),
    fc.constant(handle),
  )

/** Each leaf with some of others' values, each key sometimes gone or another. */
export function shaken(value: unknown): fc.Arbitrary<unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return fc.oneof({ arbitrary: fc.constant(value), weight: 8 }, { arbitrary: leaf(), weight: 1 })
  const kept = Object.entries(value).map(([name, inner]) =>
    fc.tuple(
      fc.oneof({ arbitrary: fc.constant(name), weight: 20 }, { arbitrary: anyText(), weight: 1 }),
      shaken(inner),
    ),
  )
  const whole = fc.tuple(...kept).map((entries): unknown => Object.fromEntries(entries))
  return fc.oneof({ arbitrary: whole, weight: 20 }, { arbitrary: leaf(), weight: 1 })
}
