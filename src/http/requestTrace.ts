import { randomBytes } from 'node:crypto'
import type { SpanContext } from '@opentelemetry/api'
import type { Context, MiddlewareHandler, Next } from 'hono'
import { matchedRoutes } from 'hono/route'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { inRequest } from '../telemetry/spans.ts'
import {
  formatTraceparent,
  parseTraceparent,
  traceHeaders,
  traceIdOf,
  traceparentOf,
} from '../telemetry/trace.ts'

/** What every request carries through the app. */
export interface RequestVariables {
  /** Follows the message from here to its last line. */
  traceId: string
  /** This request alone. */
  requestId: string
  /** What is stored with a message: the request's span where somebody listens, else what its caller sent. */
  traceparent?: string
}

/** Asked every few seconds by machines: their lines are debug, or they would be most of the log. */
export const PROBES: ReadonlySet<string> = new Set(['/live', '/ready', '/health', '/metrics'])

/** A path longer than this is no address of ours. */
const PATH_LENGTH = 200

/** Lines about what is sent to us: there may be thousands a second, so each kind is thinned out by itself. */
function eventOf(path: string, status: number): 'http_request' | 'intake_accepted' | 'intake_refused' {
  if (!path.startsWith('/inbox/')) return 'http_request'
  return status < 400 ? 'intake_accepted' : 'intake_refused'
}

/** The trace id of a request, and what its answer gives back of its trace. */
export function tracesBack(
  header: (name: string) => string | undefined,
  span?: SpanContext,
): { readonly traceId: string; readonly headers: Readonly<Record<string, string>> } {
  const traceparent = header('traceparent')
  const traceId = traceIdOf(header('X-Trace-ID'), traceparent, span)
  const headers = traceHeaders(traceId)
  return {
    traceId,
    headers:
      traceparent === undefined || parseTraceparent(traceparent) === undefined
        ? headers
        : { ...headers, traceparent },
  }
}

/** Takes a trace over from the headers or begins one, gives it back, and writes one line per request. */
export function requestTrace(log: Log): MiddlewareHandler<{ Variables: RequestVariables }> {
  return async (context, next) => {
    const { method, path } = context.req
    if (PROBES.has(path)) return answer(log, context, next, undefined)
    return inRequest(
      { method, path, header: (name) => context.req.header(name) },
      (span) => answer(log, context, next, span),
      () => {
        // What ends with a star is middleware.
        const matched = matchedRoutes(context).findLast((one) => !one.path.endsWith('*'))
        return { route: matched?.path, status: context.res.status }
      },
    )
  }
}

async function answer(
  log: Log,
  context: Context<{ Variables: RequestVariables }>,
  next: Next,
  span: SpanContext | undefined,
): Promise<void> {
  const startedAt = performance.now()
  const given = parseTraceparent(context.req.header('traceparent'))
  const { traceId, headers } = tracesBack((name) => context.req.header(name), span)
  const requestId = randomBytes(8).toString('hex')
  context.set('traceId', traceId)
  context.set('requestId', requestId)
  if (span !== undefined) context.set('traceparent', traceparentOf(span))
  else if (given !== undefined) context.set('traceparent', formatTraceparent(given))

  await next()

  for (const [name, value] of Object.entries(headers)) context.header(name, value)
  const { method, path } = context.req
  const { status } = context.res
  const durationMs = Math.round((performance.now() - startedAt) * 10) / 10
  log.event(eventOf(path, status), `${method} ${path.slice(0, PATH_LENGTH)} ${status}`, {
    // A probe that says 503 tells the truth; the state behind it has lines of its own.
    level: PROBES.has(path)
      ? 'debug'
      : status === 503 && path.startsWith('/inbox/')
        ? 'warn'
        : status >= 500
          ? 'error'
          : 'info',
    trace_id: traceId,
    request_id: requestId,
    method,
    path: path.slice(0, PATH_LENGTH),
    status,
    duration_ms: durationMs,
    ...(context.error === undefined ? {} : { class: cleanError(context.error).class }),
  })
}
