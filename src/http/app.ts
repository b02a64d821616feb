import { Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { secureHeaders } from 'hono/secure-headers'
import { timeout } from 'hono/timeout'
import type { Settings } from '../config/settings.ts'
import type { Log } from '../telemetry/log.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { adminRoutes } from './admin.ts'
import type { AdminPort } from './adminPort.ts'
import { guardDashboard } from './guard.ts'
import { createHealth, type HealthReporter, type ServiceFacts } from './health.ts'
import { intakeRoutes } from './intake.ts'
import type { IntakePort } from './intakePort.ts'
import type { MetricsPort } from './metricsPort.ts'
import { page } from './page.ts'
import type { DatabaseProbe } from './probe.ts'
import { requestTrace, type RequestVariables } from './requestTrace.ts'
import type { StatusPort } from './statusPort.ts'

/** What the app needs besides the port. */
export interface AppOptions extends ServiceFacts {
  readonly settings: Pick<
    Settings,
    'requestTimeoutMs' | 'dashboard' | 'adminToken' | 'intakeToken' | 'corsOrigins'
  >
  /** Undefined: this instance takes nothing in. */
  readonly intake?: IntakePort
  /** Undefined: operators' actions are off, as they are without a token. */
  readonly admin?: AdminPort
  /** Undefined: there is no `/metrics`. */
  readonly metrics?: MetricsPort
  /** Shared with whoever else looks at the database. Default: one of its own, by the port. */
  readonly probe?: DatabaseProbe
  /** Shared with the app on the other port. Default: one of its own. */
  readonly health?: HealthReporter
  /** What is answered besides `/live`, `/ready` and `/health`. Default: everything. */
  readonly serves?: 'everything' | 'the public' | 'operators'
}

/** The HTTP side of an instance, apart from listening: `app.fetch(request)` answers. */
export type App = Hono<{ Variables: RequestVariables }>

/** Builds the app. It asks `port` anew at every request, and so may be made before anything else has started. */
export function createApp(port: StatusPort, log: Log, options: AppOptions): App {
  const { service, version, features, settings, admin, metrics, serves = 'everything' } = options
  const health = options.health ?? createHealth(port, { service, version, features }, log, options.probe)
  const guard = guardDashboard(settings)
  const app: App = new Hono()

  if (metrics !== undefined)
    app.use(async (_context, next) => {
      const answered = metrics.requested()
      await next()
      answered()
    })
  app.use(requestTrace(log))
  // Whether a domain is HTTPS alone, subdomains included, is for whoever ends TLS in front of us.
  app.use(
    secureHeaders({
      strictTransportSecurity: false,
      contentSecurityPolicy: { defaultSrc: ["'none'"], styleSrc: ["'unsafe-inline'"] },
    }),
  )
  app.use(async (context, next) => {
    await next()
    // Whoever keeps a connection open would keep sending to an instance that is about to leave.
    if (port.readiness() === 'draining') context.header('Connection', 'close')
    context.header('Cache-Control', 'no-store')
  })

  app.get('/live', (context) => context.json({ status: 'live' }))
  app.get('/ready', (context) => {
    const status = port.readiness()
    return context.json({ status }, status === 'ready' ? 200 : 503)
  })
  app.get('/health', async (context) => {
    const report = await health.report()
    return context.json(report, report.status === 'unhealthy' ? 503 : 200)
  })
  // Without the dashboard's token, which scrapers do not have: whoever wants it unseen sets OPS_PORT.
  if (metrics !== undefined && serves !== 'the public')
    app.get('/metrics', async (context) =>
      context.body(await metrics.text(), 200, { 'Content-Type': metrics.contentType }),
    )
  if (options.intake !== undefined && serves !== 'operators')
    app.route('/inbox', intakeRoutes(port, options.intake, settings))
  // What is above has limits of its own, which REQUEST_TIMEOUT_SECONDS must not undercut.
  app.use(timeout(settings.requestTimeoutMs, () => new HTTPException(504)))
  if (serves !== 'the public') operatorRoutes()

  app.notFound((context) =>
    context.json({ error: 'not_found', message: `no such path: ${context.req.path}` }, 404),
  )
  app.onError((error, context) => {
    // Neither the message nor the stack leaves the process: a caller is given the trace id to ask with.
    const status = error instanceof HTTPException ? error.status : 500
    const message = status === 504 ? `no answer within ${settings.requestTimeoutMs} ms` : 'see the log'
    return context.json(
      { error: status === 504 ? 'timeout' : 'internal', message, trace_id: context.get('traceId') },
      status,
    )
  })
  return app

  /** What OPS_PORT, where it is set, answers alone. */
  function operatorRoutes(): void {
    app.get('/status', guard, async (context) => {
      try {
        return context.json(await port.status())
      } catch (error) {
        return context.json({ error: cleanError(error).class, message: 'the database did not answer' }, 503)
      }
    })
    app.get('/', guard, async (context) => context.html(page(await health.report())))
    if (admin !== undefined && settings.adminToken !== undefined)
      app.route('/admin', adminRoutes(admin, settings.adminToken))
  }
}
