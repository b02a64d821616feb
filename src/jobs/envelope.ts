import { JobInvalid, JobTooLarge } from '../errors.ts'
import { acceptTraceId } from '../telemetry/trace.ts'

/*
 * What a job carries besides its data: the trace id. pg-boss keeps an object as a job's data, while a user's data is any
 * JSON, so what we send is an envelope around both. A job that somebody else sent (with SQL, with pg-boss) is its own data.
 *
 * A tick carries nothing; its trace id is the job's own id, which is the same in each retry, and which a dead job that was
 * sent again still knows as the first of its chain.
 */

interface Envelope {
  readonly tidemark: { readonly trace_id: string }
  readonly data: unknown
}

/** Most bytes of JSON that a job's data may have: 1 MiB, as a message taken in by HTTP. */
const MOST_BYTES = 1_048_576

/** What PostgreSQL's jsonb can nest is limited by its stack; a thousand levels are no data any more. */
const MOST_DEPTH = 1_000

/** @throws JobInvalid for what is not JSON, or what jsonb cannot hold; JobTooLarge */
export function pack(job: string, data: unknown, traceId: string): Envelope {
  check(job, data, 'data', 0, new Set())
  const text = JSON.stringify(data)
  const bytes = Buffer.byteLength(text)
  if (bytes > MOST_BYTES) throw new JobTooLarge(job, bytes, MOST_BYTES)
  const kept: unknown = JSON.parse(text)
  // What has a toJSON (a Date, say) is what that gave.
  check(job, kept, 'data', 0, new Set())
  return { tidemark: { trace_id: traceId }, data: kept }
}

export function unpack(sent: unknown, rootId: string): { data: unknown; traceId: string } {
  const traceId = isEnvelope(sent) ? acceptTraceId(sent.tidemark.trace_id) : undefined
  if (traceId !== undefined && isEnvelope(sent)) return { data: sent.data, traceId }
  return { data: sent, traceId: rootId.replaceAll('-', '') }
}

function isEnvelope(sent: unknown): sent is Envelope {
  if (!isObject(sent) || !('data' in sent)) return false
  return isObject(sent['tidemark'])
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

/** JSON.stringify leaves out or changes what it does not know, without a word: the handler would get something else. */
function check(job: string, value: unknown, what: string, depth: number, above: Set<object>): void {
  const fail = (problem: string): never => {
    throw new JobInvalid(job, what, problem)
  }
  switch (typeof value) {
    case 'string':
      if (value.includes('\0')) fail('has a NUL character, which PostgreSQL cannot keep')
      if (!value.isWellFormed()) fail('has half of a surrogate pair, which PostgreSQL cannot keep')
      return
    case 'number':
      if (!Number.isFinite(value)) fail(`is ${value}, which is not JSON`)
      return
    case 'bigint':
    case 'function':
    case 'symbol':
      fail(`is a ${typeof value}, which is not JSON`)
      return
    case 'object':
      if (value !== null) checkWithin(job, value, what, depth, above, fail)
  }
}

function checkWithin(
  job: string,
  value: object,
  what: string,
  depth: number,
  above: Set<object>,
  fail: (problem: string) => never,
): void {
  if (above.has(value)) fail('contains itself')
  if (depth >= MOST_DEPTH) fail(`is nested more than ${MOST_DEPTH} levels deep`)
  if ('toJSON' in value) return
  above.add(value)
  const isList = Array.isArray(value)
  for (const [key, inner] of Object.entries(value)) {
    if (!isList) check(job, key, `a name in ${what}`, depth, above)
    check(job, inner, isList ? `${what}[${key}]` : `${what}.${key}`, depth + 1, above)
  }
  above.delete(value)
}
