import { diag, INVALID_SPAN_CONTEXT, propagation, trace } from '@opentelemetry/api'
import type { Context, Span, TextMapPropagator, Tracer, TracerProvider } from '@opentelemetry/api'

/*
 * An SDK can do no harm. Samplers, processors, exporters and propagators are the user's own code or somebody's, and what they
 * throw must not end the delivery, request, pass or job that they only watch; nor leave half done what was to follow.
 */

/** Asks something of the SDK. What that throws is told to OpenTelemetry's own diagnostics, and the answer is undefined. */
export function harmless<T>(ask: () => T): T | undefined {
  try {
    return ask()
  } catch (error) {
    try {
      diag.error('tidemark: the OpenTelemetry SDK threw', error)
    } catch {
      // They are set up by the same hands, and nobody is left to be told.
    }
    return undefined
  }
}

/** In the place of a span that could not be made: whatever is sent on from within it names the span around. */
function passedOn(parent: Context | undefined): Span {
  return trace.wrapSpanContext((parent && trace.getSpanContext(parent)) ?? INVALID_SPAN_CONTEXT)
}

/** The same tracer, whose spans come to nothing where it throws. */
export function harmlessTracer(tracer: Tracer): Tracer {
  return {
    startSpan: (name, options, parent) =>
      harmlessSpan(harmless(() => tracer.startSpan(name, options, parent)) ?? passedOn(parent)),
    // Nobody here asks for it: what throws in it may be the SDK, or what it runs.
    startActiveSpan: tracer.startActiveSpan.bind(tracer),
  }
}

/** What is registered, now or later, for whoever makes spans beside us (pg-boss). */
export const harmlessProvider: TracerProvider = {
  getTracer: (...asked) => harmlessTracer(trace.getTracerProvider().getTracer(...asked)),
}

/** The same of the propagators. */
export const harmlessPropagator: TextMapPropagator<unknown> = {
  inject(...asked) {
    harmless(() => {
      propagation.inject(...asked)
    })
  },
  extract: (...asked) => harmless(() => propagation.extract(...asked)) ?? asked[0],
  fields: () => harmless(() => propagation.fields()) ?? [],
}

/** What it answers is the span's own, but for methods that give the span back for the next call. */
function harmlessSpan(span: Span): Span {
  const harmed: Span = new Proxy(span, {
    get(target, name): unknown {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        const answer: unknown = harmless((): unknown => Reflect.apply(value, target, args))
        if (answer !== undefined && answer !== target) return answer
        return name === 'spanContext' ? INVALID_SPAN_CONTEXT : name === 'isRecording' ? false : harmed
      }
    },
  })
  return harmed
}
