import { z } from 'zod'
import type {
  BatchProcessorConfig,
  CleanUp,
  ExternalProcessorConfig,
  JobConfig,
  TransactionalProcessorConfig,
} from './types.ts'
import { conditionFault } from './condition.ts'
import { DELIVER_URL_EXPECTED, isDeliverUrl, isSigningSecret, SECRET_EXPECTED } from './delivery.ts'
import { DURATION_FORM, parseDuration } from './durations.ts'
import { CRON_FORM, cronFault, RRULE_FORM, rruleFault } from './recurrence.ts'

/** Names of tasks: they become queue names, log fields, metric labels and environment variables. */
export const NAME_FORM = /^[a-z][a-z0-9_]{0,62}$/
export const NAME_EXPECTED = 'a name of a-z, 0-9 and _, beginning with a letter, 63 characters at most'

/** Spans beyond this cannot be a timer of Node, which would fire at once. */
const MAX_TIMER_MS = 2_147_483_647
/** pg-boss lets a job run for 24 hours at most, and its own limit must lie above ours. */
const MAX_JOB_MS = 82_800_000

/** An object that has these options and no others; a misspelt one is named, with those that there are. */
function options<S extends z.core.$ZodShape>(shape: S) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `an option of this version: ${Object.keys(shape).join(', ')}`
        : undefined,
  })
}

/** A duration that becomes milliseconds. */
function duration(minMs: number, maxMs = Number.MAX_SAFE_INTEGER) {
  const least = minMs >= 1000 ? `${minMs / 1000} s at least` : 'longer than nothing'
  return z.unknown().transform((value, context): number => {
    const ms = parseDuration(value)
    if (ms !== undefined && ms >= minMs && ms <= maxMs) return ms
    const limits = ms === undefined ? '' : ms < minMs ? `, ${least}` : ', shorter than 25 days'
    context.addIssue({ code: 'custom', message: `${DURATION_FORM}${limits}` })
    return z.NEVER
  })
}

function whole(min: number, max: number) {
  const expected = `a whole number from ${min} to ${max}`
  return z.number(expected).int(expected).min(min, expected).max(max, expected)
}

function text(expected: string, form = /\S/) {
  return z.string(expected).regex(form, expected)
}

/** A user's function; its own types are those of types.ts, and nothing more can be seen of it here. */
function callable<F>() {
  return z.custom<F>((value) => typeof value === 'function', 'a function')
}

const column = text('the name of a column')
const table = text(
  "the name of a table, with its schema when it is not on the search path: 'service_ops.orders'",
  /^(?:"(?:[^"]|"")+"|[^".\s]+)(?:\.(?:"(?:[^"]|"")+"|[^".\s]+))?$/,
)
const zone = z
  .string("an IANA time zone such as 'Europe/Berlin'")
  .refine(isTimeZone, "an IANA time zone such as 'Europe/Berlin'")
const startFrom = z
  .string("'beginning', 'now' or a time with its zone: '2026-01-31T12:00:00Z'")
  .refine(isStart, "'beginning', 'now' or a time with its zone: '2026-01-31T12:00:00Z'")
const CRON_EXPECTED = "a cron expression of five fields: '0 3 * * *'"
const cron = text(CRON_EXPECTED, CRON_FORM).superRefine((value, context) => {
  const fault = CRON_FORM.test(value) ? cronFault(value) : undefined
  if (fault !== undefined) context.addIssue({ code: 'custom', message: `${CRON_EXPECTED} (${fault})` })
})
const RRULE_EXPECTED =
  "a recurrence rule (RFC 5545): 'FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17;BYMINUTE=0;BYSECOND=0'"
const rrule = text(RRULE_EXPECTED, RRULE_FORM).superRefine((value, context) => {
  const fault = RRULE_FORM.test(value) ? rruleFault(value) : undefined
  if (fault !== undefined) context.addIssue({ code: 'custom', message: `${RRULE_EXPECTED} (${fault})` })
})
const where = text('an SQL condition').superRefine((value, context) => {
  const fault = conditionFault(value)
  if (fault !== undefined)
    context.addIssue({ code: 'custom', message: `one SQL condition, as after WHERE (${fault})` })
})

const webhookSecret = z
  .string('the secret of the signature')
  .refine(isWebhookSecret, 'base64 of 24 bytes at least, with or without whsec_ before it')

const source = options({
  table,
  id: column,
  createdAt: column,
  payload: z
    .union([column, z.array(column).min(1, 'one column at least')], 'the name of a column, or a list of them')
    .optional(),
  groupKey: column.optional(),
  traceId: column.optional(),
  where: where.optional(),
  timeZone: zone.optional(),
  lateness: duration(0).optional(),
})

const poller = options({
  source,
  every: duration(1000, MAX_TIMER_MS).optional(),
  cron: cron.optional(),
  tz: zone.default('UTC'),
  startFrom: startFrom.nullable().default(null),
  pageSize: whole(1, 100_000).default(500),
  retention: duration(1000).default(7 * 86_400_000),
  sweep: duration(1000, MAX_TIMER_MS).default(3_600_000),
})

/** A body is read whole before it is looked at, and several are at once. */
const MAX_BODY_BYTES = 16 * 2 ** 20

const intake = options({
  maxBodyBytes: whole(1, MAX_BODY_BYTES).default(2 ** 20),
  signature: options({ secret: webhookSecret }).optional(),
  retention: duration(1000).default(7 * 86_400_000),
})

const backoff = options({
  base: duration(1).default(1000),
  max: duration(1).default(300_000),
})

const secret = z.string(SECRET_EXPECTED).refine(isSigningSecret, SECRET_EXPECTED)

/** A handler of which the contract is not known yet. */
type SingleHandle = TransactionalProcessorConfig['handle'] & ExternalProcessorConfig['handle']

const CONTRACT_EXPECTED = "'transactional' or 'external'"
const from = 'the name of a poller or intake, or a list of them'

const deliver = options({
  url: z.string(DELIVER_URL_EXPECTED).refine(isDeliverUrl, DELIVER_URL_EXPECTED),
  secret: z
    .union([secret.transform((one) => [one]), z.array(secret).min(1, SECRET_EXPECTED)], SECRET_EXPECTED)
    .transform((all) => all.map((one) => one.trim())),
  timeout: duration(1, MAX_TIMER_MS).optional(),
})

const processor = options({
  from: z.union([text(from).transform((name) => [name]), z.array(text(from)).min(1, from)], from),
  contract: z.enum(['transactional', 'external'], CONTRACT_EXPECTED).optional(),
  handle: callable<SingleHandle>().optional(),
  handleBatch: callable<BatchProcessorConfig['handleBatch']>().optional(),
  batchSize: whole(1, 10_000).optional(),
  deliver: deliver.optional(),
  concurrency: whole(1, 10_000).default(10),
  maxAttempts: whole(1, 1000).default(10),
  backoff: backoff.default({ base: 1000, max: 300_000 }),
  timeout: duration(1, MAX_TIMER_MS).default(60_000),
  exclusive: z.boolean('true or false').default(false),
  slots: options({ perKey: whole(1, 100_000) })
    .nullable()
    .default(null),
  ordered: z.boolean('true or false').default(false),
})

const job = options({
  cron: cron.optional(),
  rrule: rrule.optional(),
  tz: zone.default('UTC'),
  missed: z.enum(['once', 'skip'], "'once' or 'skip'").default('once'),
  retryLimit: whole(0, 1000).default(2),
  timeout: duration(1, MAX_JOB_MS).default(300_000),
  handle: callable<JobConfig['handle']>(),
})

function named<S extends z.ZodType>(schema: S) {
  // Names are judged in validate.ts: a record with a wrong key would keep silent about what stands below it.
  return z.record(z.string(), schema, 'an object of tasks by name').default({})
}

/** The form of a config; what its parts say about each other is judged in validate.ts. */
export const CONFIG_SCHEMA = options({
  pollers: named(poller),
  intakes: named(intake),
  processors: named(processor),
  jobs: named(job),
  onShutdown: z
    .union(
      [callable<CleanUp>().transform((fn) => [fn]), z.array(callable<CleanUp>())],
      'a function, or a list of them',
    )
    .default([]),
  log: options({
    redact: z.array(text('the name of a field'), 'a list of names of fields').default([]),
  }).default({ redact: [] }),
})

/** A config whose form is right. */
export type FormedConfig = z.output<typeof CONFIG_SCHEMA>
export type FormedProcessor = FormedConfig['processors'][string]
export type FormedSource = FormedConfig['pollers'][string]['source']

/** As Standard Webhooks has it: base64, and long enough that nobody guesses it. */
function isWebhookSecret(secret: string): boolean {
  const base64 = secret.replace(/^whsec_/, '')
  return (
    /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(base64) &&
    Buffer.byteLength(base64, 'base64') >= 24
  )
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== ''
  } catch {
    // RangeError: no such zone. There is no other way to ask.
    return false
  }
}

function isStart(value: string): boolean {
  if (value === 'beginning' || value === 'now') return true
  return /^\d{4}-\d{2}-\d{2}T.*(?:Z|[+-]\d{2}:?\d{2})$/.test(value) && !Number.isNaN(Date.parse(value))
}
