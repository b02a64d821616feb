import type { Log } from '../telemetry/log.ts'
import { createProbe, type DatabaseProbe, type ProbeResult } from './probe.ts'
import type { Check, Checks, Readiness, StatusPort } from './statusPort.ts'

/** What `/health` says of the program itself. */
export interface ServiceFacts {
  /** SERVICE_NAME. */
  readonly service: string
  /** RELEASE. */
  readonly version: string
  /** The parts that this instance was started with: `pollers`, `processors`, `jobs`, `intake`. */
  readonly features: readonly string[]
}

/** The document of `/health`. */
export interface Health extends ServiceFacts {
  readonly status: 'healthy' | 'degraded' | 'unhealthy'
  readonly ready: Readiness
  readonly database: 'connected' | 'disconnected'
  readonly checks: { readonly database: Check } & Checks
  readonly timestamp: string
  /** Class name of what makes it unhealthy; never a message. */
  readonly error?: string
}

/** Tells how this instance is, part by part. */
export interface HealthReporter {
  report(): Promise<Health>
}

/**
 * Builds `/health` from the port. A change between unhealthy and not is logged once, by whoever asks first after it.
 * @param probe replaces the probe of the port's database; for tests
 */
export function createHealth(
  port: StatusPort,
  facts: ServiceFacts,
  log: Log,
  probe: DatabaseProbe = createProbe(() => port.probeDatabase()),
): HealthReporter {
  let failedAt: number | undefined

  function note(health: Health): void {
    if (health.status === 'unhealthy' && failedAt === undefined) {
      failedAt = performance.now()
      const checks = Object.entries(health.checks).flatMap(([name, { status }]) =>
        status === 'failed' ? [name] : [],
      )
      log.event('health_failed', `unhealthy: ${health.error ?? 'no reason given'}`, {
        checks,
        ...(health.error === undefined ? {} : { class: health.error }),
      })
    } else if (health.status !== 'unhealthy' && failedAt !== undefined) {
      const afterMs = Math.round(performance.now() - failedAt)
      failedAt = undefined
      log.event('health_recovered', `${health.status} again`, { after_ms: afterMs })
    }
  }

  return {
    async report() {
      const health = judge(facts, port.readiness(), await probe.look(), port.checks())
      note(health)
      return health
    },
  }
}

/**
 * The rule. Unhealthy (503, the proxy sends traffic elsewhere) is only what *this* instance cannot do: it has no
 * database, the schema does not fit, or one of its own loops stands still. What another instance or a person mends
 * is degraded: taking this instance away would not help. So is starting and draining, for which `/ready` is there.
 */
export function judge(facts: ServiceFacts, ready: Readiness, probe: ProbeResult, checks: Checks): Health {
  const parts = Object.values(checks) as readonly Check[]
  const error = errorOf(ready, probe, parts)
  const whole = ready === 'ready' && parts.every(({ status }) => status === 'ok')
  return {
    ...facts,
    status: error !== undefined ? 'unhealthy' : whole ? 'healthy' : 'degraded',
    ready,
    database: probe.ok ? 'connected' : 'disconnected',
    checks: {
      database: probe.ok
        ? { status: 'ok', latency_ms: probe.latencyMs }
        : { status: 'failed', class: probe.class },
      ...checks,
    },
    timestamp: new Date().toISOString(),
    ...(error === undefined ? {} : { error }),
  }
}

function errorOf(ready: Readiness, probe: ProbeResult, parts: readonly Check[]): string | undefined {
  if (!probe.ok) return probe.class
  if (ready === 'schema_incompatible') return 'SchemaIncompatible'
  return parts.some(({ status }) => status === 'failed') ? 'PartStalled' : undefined
}
