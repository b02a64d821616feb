import { randomBytes } from 'node:crypto'
import { TraceFlags } from '@opentelemetry/api'
import type { SpanContext } from '@opentelemetry/api'
import { activeSpan, contextHeaders } from './tracer.ts'

/** Trace ids that are taken over from outside; anything else is ignored and replaced by a fresh one. */
const ACCEPTED_TRACE_ID = /^[A-Za-z0-9._:-]{1,128}$/
/** W3C Trace Context, level 1; `ff` is a forbidden version, and later versions may append fields. */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** A parsed `traceparent`. */
export interface TraceParent {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
}

/** A fresh trace id: 32 hex digits, so that it is a W3C trace id as it stands. */
export function newTraceId(): string {
  return randomBytes(16).toString('hex')
}

/** The value when it may stand as a trace id (1 to 128 of `A-Za-z0-9._:-`), else undefined. */
export function acceptTraceId(value: unknown): string | undefined {
  return typeof value === 'string' && ACCEPTED_TRACE_ID.test(value) ? value : undefined
}

/** Reads a `traceparent` header; undefined when it is none, or when one of its ids is all zeros. */
export function parseTraceparent(header: string | null | undefined): TraceParent | undefined {
  const match = TRACEPARENT.exec(header?.trim() ?? '')
  if (match === null) return undefined
  const [, version, traceId = '', spanId = '', flags = '', more] = match
  if (version === 'ff' || (version === '00' && more !== undefined)) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

/** Writes a `traceparent` header. */
export function formatTraceparent({ traceId, spanId, sampled }: TraceParent): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`
}

/**
 * Headers for an outgoing call: `X-Trace-ID`, and `traceparent`. Within a span of OpenTelemetry that one is its parent; else it
 * is a fresh span of the trace, when the trace id has its form (a caller's own `X-Trace-ID` may be any text, and must not be passed
 * on as a W3C id that it is not).
 */
export function traceHeaders(traceId: string): Record<string, string> {
  const headers = { 'X-Trace-ID': traceId }
  const active = activeSpan()
  if (active !== undefined) return { ...headers, traceparent: traceparentOf(active), ...contextHeaders() }
  if (!/^[0-9a-f]{32}$/.test(traceId) || /^0+$/.test(traceId)) return headers
  const spanId = randomBytes(8).toString('hex')
  return { ...headers, traceparent: formatTraceparent({ traceId, spanId, sampled: true }) }
}

/** The same of a span. */
export function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return formatTraceparent({ traceId, spanId, sampled: (traceFlags & TraceFlags.SAMPLED) === 1 })
}

/** The trace id of a request: `X-Trace-ID`, else that of its span where somebody listens, else of `traceparent`, else a fresh one. */
export function traceIdOf(
  xTraceId: string | undefined,
  traceparent: string | undefined,
  span?: SpanContext,
): string {
  return acceptTraceId(xTraceId) ?? span?.traceId ?? parseTraceparent(traceparent)?.traceId ?? newTraceId()
}
