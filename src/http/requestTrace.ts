import { randomBytes } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { parseTraceparent, traceHeaders, traceIdOf } from '../telemetry/trace.ts'

/** What every request carries through the app. */
export interface RequestVariables {
  /** Follows the message from here to its last line. */
  traceId: string
  /** This request alone. */
  requestId: string
}

/** Asked every few seconds by machines: their lines are debug, or they would be most of the log. */
const PROBES: ReadonlySet<string> = new Set(['/live', '/ready', '/health', '/metrics'])

/** A path longer than this is no address of ours. */
const PATH_LENGTH = 200

/** Lines about what is sent to us: there may be thousands a second, so each kind is thinned out by itself. */
function eventOf(path: string, status: number): 'http_request' | 'intake_accepted' | 'intake_refused' {
  if (!path.startsWith('/inbox/')) return 'http_request'
  return status < 400 ? 'intake_accepted' : 'intake_refused'
}

/** Takes a trace over from the headers or begins one, gives it back, and writes one line per request. */
export function requestTrace(log: Log): MiddlewareHandler<{ Variables: RequestVariables }> {
  return async (context, next) => {
    const startedAt = performance.now()
    const traceparent = context.req.header('traceparent')
    const traceId = traceIdOf(context.req.header('X-Trace-ID'), traceparent)
    const requestId = randomBytes(8).toString('hex')
    context.set('traceId', traceId)
    context.set('requestId', requestId)

    await next()

    for (const [name, value] of Object.entries(traceHeaders(traceId))) context.header(name, value)
    if (traceparent !== undefined && parseTraceparent(traceparent) !== undefined) {
      context.header('traceparent', traceparent)
    }
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
}
