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
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  provider.register()
  t.after(async () => {
    trace.disable()
    context.disable()
    propagation.disable()
    forgetTracer()
    await provider.shutdown()
  })
  const all = (): ReadableSpan[] => exporter.getFinishedSpans()
  return {
    all,
    of: (traceId) => all().filter((span) => span.spanContext().traceId === traceId),
    named: (name, where = () => true) =>
      until(`a span ${name}`, () => all().find((span) => span.name === name && where(span))),
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
