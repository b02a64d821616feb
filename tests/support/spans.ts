import { context, propagation, trace } from '@opentelemetry/api'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-node'
import { forgetTracer } from '../../src/telemetry/tracer.ts'
import type { Scope } from './scope.ts'
import { until } from './until.ts'

/** What an SDK in this process was told. */
export interface KeptSpans {
  readonly all: () => ReadableSpan[]
  /** Ended spans of one trace. */
  of(traceId: string): ReadableSpan[]
  /** Waits for an ended span of this name. */
  named(name: string, where?: (span: ReadableSpan) => boolean): Promise<ReadableSpan>
}

/** An OpenTelemetry SDK as a user sets one up, which keeps its spans in memory; gone at the end of the test. */
export function keepSpans(t: Scope): KeptSpans {
  const exporter = new InMemorySpanExporter()
  register(t, { spanProcessors: [new SimpleSpanProcessor(exporter)] })
  const all = (): ReadableSpan[] => exporter.getFinishedSpans()
  return {
    all,
    of: (traceId) => all().filter((span) => span.spanContext().traceId === traceId),
    named: (name, where = () => true) =>
      until(`a span ${name}`, () => all().find((span) => span.name === name && where(span))),
  }
}

function register(
  t: Scope,
  config: ConstructorParameters<typeof NodeTracerProvider>[0],
  how: Parameters<NodeTracerProvider['register']>[0] = {},
): void {
  const provider = new NodeTracerProvider(config)
  provider.register(how)
  t.after(async () => {
    trace.disable()
    context.disable()
    propagation.disable()
    forgetTracer()
    await provider.shutdown()
  })
}

/** Where an SDK throws: at every span that begins, at every one that it is told of, or at every header. */
export const THROWING = ['sampler', 'span processor', 'propagator'] as const

/** An SDK, one part of which throws whenever it is asked; returns how often it was. */
export function throwingSdk(t: Scope, part: (typeof THROWING)[number]): { readonly asked: number } {
  let asked = 0
  const fail = (): never => {
    asked += 1
    throw new Error(`the ${part} has a bad day`)
  }
  const processor = {
    onStart: () => undefined,
    onEnd: fail,
    forceFlush: async () => {},
    shutdown: async () => {},
  }
  register(
    t,
    {
      ...(part === 'sampler' && { sampler: { shouldSample: fail, toString: () => part } }),
      ...(part === 'span processor' && { spanProcessors: [processor] }),
    },
    part === 'propagator' ? { propagator: { inject: fail, extract: fail, fields: fail } } : {},
  )
  return {
    get asked() {
      return asked
    },
  }
}

/** `process calls (CONSUMER) of POST /inbox/:source` each: the name, the kind and the parent. Sorted: clocks of spans are too coarse to say which was first. */
export function family(spans: readonly ReadableSpan[]): string[] {
  const byId = new Map(spans.map((span) => [span.spanContext().spanId, span]))
  const nameOf = (id: string | undefined): string =>
    id === undefined ? 'nobody' : (byId.get(id)?.name ?? 'somebody else')
  return spans
    .map((span) => `${span.name} (${KINDS[span.kind]}) of ${nameOf(span.parentSpanContext?.spanId)}`)
    .toSorted()
}

const KINDS = ['INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'] as const
