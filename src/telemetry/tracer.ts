import { context, defaultTextMapSetter, isSpanContextValid, ROOT_CONTEXT, trace } from '@opentelemetry/api'
import type { Context, SpanContext, Tracer, TracerProvider } from '@opentelemetry/api'
import { OWN_PACKAGE } from '../config/packageFacts.ts'
import { harmless, harmlessPropagator, harmlessTracer } from './harmless.ts'

/*
 * Whether somebody listens. Without an OpenTelemetry SDK the API answers every call with objects that do nothing, and that
 * costs more than many a handler; so it is asked once in a while whether there is one, and nothing else is done until there is.
 */

const SCOPE = 'tidemark'

let tracer: Tracer | undefined

/**
 * The tracer of the SDK that is registered; undefined: there is none. For whoever begins something larger than one message
 * (a claim, a pass, a request): an SDK may be registered at any time, before this program starts or after.
 */
export function findTracer(): Tracer | undefined {
  if (tracer !== undefined) return tracer
  const found = harmless(() => {
    const provider = trace.getTracerProvider()
    // The API's own stand-in has nobody behind it until an SDK comes; what an SDK brings is another class, or has.
    return isStandIn(provider)
      ? provider.getDelegateTracer(SCOPE, OWN_PACKAGE.version)
      : provider.getTracer(SCOPE, OWN_PACKAGE.version)
  })
  if (found !== undefined) tracer = harmlessTracer(found)
  return tracer
}

/** By what it has: its class is not for users of the API. */
interface StandIn extends TracerProvider {
  getDelegateTracer(name: string, version: string): Tracer | undefined
}

function isStandIn(provider: TracerProvider): provider is StandIn {
  return 'getDelegateTracer' in provider && typeof provider.getDelegateTracer === 'function'
}

/** What was found when somebody looked last: for each message. */
export function knownTracer(): Tracer | undefined {
  return tracer
}

/** For tests, each of which has an SDK of its own. */
export function forgetTracer(): void {
  tracer = undefined
}

/** The context that is active here, by the SDK's context manager. */
export const here = (): Context => harmless(() => context.active()) ?? ROOT_CONTEXT

/** The span that is active here, ours or that of whoever called us; undefined: none is, or nobody listens. */
export function activeSpan(): SpanContext | undefined {
  if (findTracer() === undefined) return undefined
  const active = trace.getSpanContext(here())
  return active !== undefined && isSpanContextValid(active) ? active : undefined
}

/** Headers that carry the active context onward, in whatever form the SDK was set up for (`traceparent`, `b3`, `baggage`). */
export function contextHeaders(): Record<string, string> {
  const headers: Record<string, string> = {}
  harmlessPropagator.inject(here(), headers, defaultTextMapSetter)
  return headers
}
