import type { Settings } from '../config/settings.ts'
import { createApp } from '../http/app.ts'
import type { DatabaseProbe } from '../http/probe.ts'
import { serve } from '../http/server.ts'
import type { Listening } from '../http/server.ts'
import type { IntakePort } from '../http/intakePort.ts'
import type { StatusPort } from '../http/statusPort.ts'
import type { Log } from '../telemetry/log.ts'
import type { Part } from './options.ts'

export interface HttpSideOptions {
  readonly settings: Settings
  readonly parts: readonly Part[]
  readonly port: StatusPort
  readonly probe: DatabaseProbe
  /** Undefined: this instance takes nothing in. */
  readonly intake: IntakePort | undefined
  /** A taken port means the next free one. */
  readonly nextFreePort: boolean
  readonly log: Log
}

/** Builds the app and listens. It asks the ports anew at every request, so it may be first of all that starts. */
export async function listenForHttp(options: HttpSideOptions): Promise<Listening> {
  const { settings, parts, port, probe, intake, log } = options
  const { host, requestTimeoutMs } = settings
  const facts = { service: settings.serviceName, version: settings.release, features: parts }
  const app = createApp(port, log, { ...facts, settings, probe, ...(intake && { intake }) })
  const http = await serve(app, {
    host,
    port: settings.port,
    tryNext: options.nextFreePort,
    requestTimeoutMs,
  })
  log.event('http_listening', `listening on ${http.address}`, { address: http.address })
  return http
}
