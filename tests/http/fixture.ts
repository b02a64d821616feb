import { createApp, type App, type AppOptions } from '../../src/http/app.ts'
import type { Checks, Readiness, StatusPort } from '../../src/http/statusPort.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { keptLines, type KeptLines } from '../telemetry/lines.ts'

/** A port whose answers a test may change while the app runs. */
export interface FakePort extends StatusPort {
  ready: Readiness
  parts: Checks
  probes: number
  probe: () => Promise<void>
  document: () => Promise<unknown>
}

export function fakePort(change: Partial<FakePort> = {}): FakePort {
  const ok = { status: 'ok' } as const
  const port: FakePort = {
    ready: 'ready',
    parts: { queue: ok, leaders: ok, pollers: ok, processors: ok },
    probes: 0,
    probe: () => Promise.resolve(),
    document: () => Promise.resolve({ pollers: [] }),
    readiness: () => port.ready,
    checks: () => port.parts,
    status: () => port.document(),
    probeDatabase: () => {
      port.probes += 1
      return port.probe()
    },
    ...change,
  }
  return port
}

export interface FakeApp {
  readonly app: App
  readonly lines: KeptLines
}

export function appOn(
  port: StatusPort,
  settings: Partial<AppOptions['settings']> = {},
  more: Pick<AppOptions, 'admin' | 'intake' | 'metrics' | 'serves' | 'dashboard'> = {},
): FakeApp {
  const lines = keptLines()
  const log = createLog({ service: 'orders', instanceId: 'i-1', level: 'debug', sink: lines })
  const app = createApp(port, log, {
    service: 'orders',
    version: '1.2.3',
    features: ['pollers'],
    settings: {
      requestTimeoutMs: 10_000,
      host: '127.0.0.1',
      dashboard: 'public',
      adminToken: undefined,
      intakeToken: undefined,
      corsOrigins: [],
      machineId: null,
      ...settings,
    },
    ...more,
  })
  return { app, lines }
}
