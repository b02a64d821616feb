import {
  context,
  isSpanContextValid,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
} from '@opentelemetry/api'
import type { Attributes, Context, Link, Span, SpanContext, Tracer } from '@opentelemetry/api'
import { cleanError } from './errorText.ts'
import { harmless, harmlessPropagator } from './harmless.ts'
import { parseTraceparent } from './trace.ts'
import { findTracer, here, knownTracer } from './tracer.ts'

/*
 * Spans, where an OpenTelemetry SDK is registered; docs/tracing.md has the list. Names and attributes follow the semantic
 * conventions for messaging and HTTP; those that are still in motion are written out here rather than imported, as the
 * conventions ask of libraries. Payloads, keys and texts of errors that were not cleaned are in none of them.
 *
 *   POST /inbox/NAME ──traceparent stored with the message──▶ process ──▶ POST (a delivery), send (a job), the user's own
 *   claim ╌╌link╌╌▶ what each message came with                       └─▶ job (by way of pg-boss's own spans)
 *   pass: a trace of its own
 *
 * A message that came without `traceparent` begins a trace at its handler; `tidemark.trace_id` has its trace id here.
 */

const SYSTEM = 'tidemark'

/** What a batch links to is bounded, as SDKs bound it. */
const MOST_LINKS = 128

/** A message, as far as spans tell of it. */
export interface TracedMessage {
  readonly inboxId: string
  readonly source: string
  readonly messageId: string
  readonly attempts: number
  readonly traceId: string
}

/** What each message in work came with, where it came with something. */
const parents = new WeakMap<object, SpanContext>()

/** Remembers what a claimed message came with. */
export function rememberParent(message: TracedMessage, traceparent: string): void {
  const parsed = parseTraceparent(traceparent)
  if (parsed === undefined) return
  const { traceId, spanId, sampled } = parsed
  const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE
  parents.set(message, { traceId, spanId, traceFlags, isRemote: true })
}

interface Wanted {
  readonly name: string
  readonly kind: SpanKind
  readonly attributes: Attributes
  readonly parent: Context
  readonly links?: Link[]
}

/** Runs in a span that is active meanwhile, and ends with it. What it throws is recorded and thrown on. */
async function within<T>(
  tracer: Tracer,
  { name, kind, attributes, parent, links }: Wanted,
  run: (span: Span) => Promise<T>,
): Promise<T> {
  const span = tracer.startSpan(name, { kind, attributes, ...(links && { links }) }, parent)
  let running: Promise<T> | undefined
  // It runs once, wherever a context manager throws; and what it throws itself is not taken for that.
  const begin = (): Promise<T> => (running ??= (async () => run(span))())
  harmless(() => context.with(trace.setSpan(parent, span), () => void begin()))
  try {
    return await begin()
  } catch (error) {
    failed(span, error)
    throw error
  } finally {
    span.end()
  }
}

/** What was interrupted for a reason of its own has that for its cause. */
function failed(span: Span, error: unknown): void {
  const isWrapped = error instanceof Error && error.name === 'Interrupted' && error.cause !== undefined
  const { class: name, text } = cleanError(isWrapped ? error.cause : error)
  span.setAttribute('error.type', name)
  span.setStatus({ code: SpanStatusCode.ERROR, message: text })
}

function messaging(operation: string, type: string, destination: string): Attributes {
  return {
    'messaging.system': SYSTEM,
    'messaging.operation.name': operation,
    'messaging.operation.type': type,
    'messaging.destination.name': destination,
  }
}

/** A pass of a poller, in a trace of its own. `told` has what is known of it at its end. */
export function inPass<T>(
  poller: string,
  term: string,
  run: () => Promise<T>,
  told: (result: T) => Attributes,
): Promise<T> {
  const tracer = findTracer()
  if (tracer === undefined) return run()
  const attributes = { ...messaging('pass', 'receive', poller), 'tidemark.term': Number(term) }
  const wanted = { name: `pass ${poller}`, kind: SpanKind.CLIENT, attributes, parent: ROOT_CONTEXT }
  return within(tracer, wanted, async (span) => {
    const result = await run()
    span.setAttributes(told(result))
    return result
  })
}

/** A claim that brought something, after the fact: one that finds nothing is no story. Times by the monotonic clock. */
export function claimed(processor: string, messages: readonly TracedMessage[], since: number): void {
  const tracer = knownTracer()
  const [first] = messages
  if (tracer === undefined || first === undefined) return
  const attributes = {
    ...messaging('claim', 'receive', first.source),
    'messaging.consumer.group.name': processor,
    'messaging.batch.message_count': messages.length,
  }
  const options = { kind: SpanKind.CLIENT, attributes, links: linksOf(messages), startTime: since }
  tracer.startSpan(`claim ${first.source}`, options, ROOT_CONTEXT).end()
}

function linksOf(messages: readonly TracedMessage[]): Link[] {
  const links: Link[] = []
  for (const message of messages) {
    const parent = parents.get(message)
    if (parent === undefined) continue
    links.push({ context: parent })
    if (links.length === MOST_LINKS) break
  }
  return links
}

/** What became of the messages of a handler call. */
export interface Ending {
  readonly outcome: string
  /** Why it was interrupted. */
  readonly reason?: string | undefined
  readonly error?: unknown
}

/**
 * A handler call, in the trace that its message came with. A batch of several begins a trace and links to what each came with.
 * `told` says what became of them.
 */
export function inProcess<T>(
  processor: string,
  messages: readonly TracedMessage[],
  run: () => Promise<T>,
  told: (result: T) => Ending,
): Promise<T> {
  const tracer = knownTracer()
  const [first, ...others] = messages
  if (tracer === undefined || first === undefined) return run()
  const isOne = others.length === 0
  const parent = isOne ? parents.get(first) : undefined
  const wanted: Wanted = {
    name: `process ${first.source}`,
    kind: SpanKind.CONSUMER,
    attributes: {
      ...messaging('process', 'process', first.source),
      'messaging.consumer.group.name': processor,
      ...(isOne ? ofMessage(first) : { 'messaging.batch.message_count': messages.length }),
    },
    parent: parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent),
    ...(isOne ? {} : { links: linksOf(messages) }),
  }
  return within(tracer, wanted, async (span) => {
    const result = await run()
    const { outcome, reason, error } = told(result)
    span.setAttribute('tidemark.outcome', outcome)
    if (reason !== undefined) span.setAttribute('tidemark.interruption', reason)
    if (error !== undefined) failed(span, error)
    return result
  })
}

function ofMessage({ inboxId, messageId, attempts, traceId }: TracedMessage): Attributes {
  return {
    'messaging.message.id': messageId,
    'tidemark.inbox_id': inboxId,
    'tidemark.attempt': attempts,
    'tidemark.trace_id': traceId,
  }
}

/** A delivery: one request within a handler's span. `send` tells the status of the answer, and throws what became of it. */
export function inDelivery<T>(
  url: URL,
  send: (answered: (status: number) => void) => Promise<T>,
): Promise<T> {
  const tracer = knownTracer()
  if (tracer === undefined) return send(() => undefined)
  const { protocol, hostname, port } = url
  const attributes = {
    'http.request.method': 'POST',
    'server.address': hostname,
    'server.port': Number(port) || (protocol === 'https:' ? 443 : 80),
  }
  const wanted = { name: 'POST', kind: SpanKind.CLIENT, attributes, parent: here() }
  return within(tracer, wanted, (span) => send((status) => answered(span, status, 400)))
}

/** A run of a job. The span of pg-boss's that is active meanwhile is its parent, and has the trace that sent it for its own. */
export function inJob<T>(job: string, attempt: number, traceId: string, run: () => Promise<T>): Promise<T> {
  const tracer = findTracer()
  if (tracer === undefined) return run()
  const attributes = {
    ...messaging('job', 'process', job),
    'tidemark.attempt': attempt,
    'tidemark.trace_id': traceId,
  }
  const wanted = { name: `job ${job}`, kind: SpanKind.INTERNAL, attributes, parent: here() }
  return within(tracer, wanted, run)
}

/** A request as its span is told of it. */
export interface TracedRequest {
  readonly method: string
  readonly path: string
  readonly header: (name: string) => string | undefined
}

/**
 * A request, in the trace that its caller is in; within a span of somebody's HTTP instrumentation it is a part of that.
 * `respond` is given the span's context; `ended` tells the route (undefined: none matched) and the status afterwards.
 */
export function inRequest(
  { method, path, header }: TracedRequest,
  respond: (span: SpanContext | undefined) => Promise<void>,
  ended: () => { readonly route: string | undefined; readonly status: number },
): Promise<void> {
  const tracer = findTracer()
  if (tracer === undefined) return respond(undefined)
  const around = here()
  const isPart = trace.getSpan(around) !== undefined
  const wanted = {
    name: method,
    kind: isPart ? SpanKind.INTERNAL : SpanKind.SERVER,
    attributes: { 'http.request.method': method, 'url.path': path, 'url.scheme': 'http' },
    parent: isPart ? around : callerOf(header),
  }
  return within(tracer, wanted, async (span) => {
    const own = span.spanContext()
    await respond(isSpanContextValid(own) ? own : undefined)
    const { route, status } = ended()
    if (route !== undefined) span.updateName(`${method} ${route}`).setAttribute('http.route', route)
    answered(span, status, 500)
  })
}

/** @param wrong the lowest status that is an error to whoever has this span */
function answered(span: Span, status: number, wrong: number): void {
  span.setAttribute('http.response.status_code', status)
  if (status < wrong) return
  span.setAttribute('error.type', String(status)).setStatus({ code: SpanStatusCode.ERROR })
}

/** By the propagators of the SDK; one that was set up without any is given `traceparent` all the same. */
function callerOf(header: (name: string) => string | undefined): Context {
  const extracted = harmlessPropagator.extract(ROOT_CONTEXT, header, {
    get: (from: typeof header, name) => from(name),
    keys: () => [],
  })
  if (trace.getSpanContext(extracted) !== undefined) return extracted
  const parsed = parseTraceparent(header('traceparent'))
  if (parsed === undefined) return extracted
  const { traceId, spanId, sampled } = parsed
  const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE
  return trace.setSpanContext(extracted, { traceId, spanId, traceFlags, isRemote: true })
}
