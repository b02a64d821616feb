import type { ResolvedConfig } from '../config/resolved.ts'
import type { Settings } from '../config/settings.ts'
import { createApp } from '../http/app.ts'
import type { App } from '../http/app.ts'
import { createHealth } from '../http/health.ts'
import type { DatabaseProbe } from '../http/probe.ts'
import { createRepeats } from '../http/repeats.ts'
import { serve } from '../http/server.ts'
import type { Listening } from '../http/server.ts'
import type { IntakePort } from '../http/intakePort.ts'
import type { Log } from '../telemetry/log.ts'
import type { MetricsPort } from '../http/metricsPort.ts'
import { createAdmin } from './admin.ts'
import { createDashboardPort } from './dashboard.ts'
import type { Part } from './options.ts'
import type { InstancePort } from './port.ts'

export interface HttpSideOptions {
  readonly settings: Settings
  readonly parts: readonly Part[]
  readonly port: InstancePort
  readonly probe: DatabaseProbe
  /** Undefined: this instance takes nothing in. */
  readonly intake: IntakePort | undefined
  readonly metrics: MetricsPort
  /** What of the user's config this instance has. */
  readonly config: ResolvedConfig
  /** Aborted when the instance begins to drain. */
  readonly ending: AbortSignal
  /** A taken port means the next free one. */
  readonly nextFreePort: boolean
  readonly log: Log
}

/** Builds the app and listens; with OPS_PORT two of them, of which the address of the first is given. It asks the ports anew at every request, so it may be first of all that starts. */
export async function listenForHttp(options: HttpSideOptions): Promise<Listening> {
  const { settings, parts, port, probe, intake, metrics, config, ending, log } = options
  const { opsPort } = settings
  const facts = { service: settings.serviceName, version: settings.release, features: parts }
  const shared = {
    ...facts,
    settings,
    probe,
    admin: createAdmin(() => port.database()),
    dashboard: createDashboardPort({
      port,
      config,
      requestTimeoutMs: settings.requestTimeoutMs,
      ending,
    }),
    metrics,
    ...(intake && { intake }),
    health: createHealth(port, facts, log, probe),
  }
  const main = await listen(
    createApp(port, log, { ...shared, serves: opsPort === undefined ? 'everything' : 'the public' }),
    settings.port,
    '',
  )
  if (opsPort === undefined) return main
  const app = createApp(port, log, { ...shared, serves: 'operators' })
  const ops = await listen(app, opsPort, ' for operators').catch(async (error: unknown) => {
    await main.close(0)
    throw error
  })
  return {
    address: main.address,
    port: main.port,
    async close(graceMs) {
      await Promise.all([main.close(graceMs), ops.close(graceMs)])
    },
  }

  async function listen(app: App, wanted: number, whom: string): Promise<Listening> {
    const { host, requestTimeoutMs, logLevel } = settings
    const http = await serve(app, {
      host,
      port: wanted,
      tryNext: options.nextFreePort,
      requestTimeoutMs,
      // The app writes a line for each of them at this level, and only at this one.
      ...(logLevel !== 'debug' && { repeats: createRepeats(app, () => port.readiness()) }),
    })
    log.event('http_listening', `listening${whom} on ${http.address}`, { address: http.address })
    return http
  }
}
