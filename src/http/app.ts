import { Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { secureHeaders } from 'hono/secure-headers'
import { timeout } from 'hono/timeout'
import type { Settings } from '../config/settings.ts'
import type { Log } from '../telemetry/log.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { adminRoutes } from './admin.ts'
import type { AdminPort } from './adminPort.ts'
import { createAccess, isBrowser } from './dashboard/access.ts'
import type { Env } from './dashboard/access.ts'
import { createDashboard } from './dashboard/dashboard.ts'
import type { DashboardPort } from './dashboardPort.ts'
import { createHealth, type HealthReporter, type ServiceFacts } from './health.ts'
import { intakeRoutes } from './intake.ts'
import type { IntakePort } from './intakePort.ts'
import type { MetricsPort } from './metricsPort.ts'
import { ownHost } from './ownHost.ts'
import type { DatabaseProbe } from './probe.ts'
import { requestTrace } from './requestTrace.ts'
import type { StatusPort } from './statusPort.ts'
import { createTokenGate } from './tokenGate.ts'

/** What the app needs besides the port. */
export interface AppOptions extends ServiceFacts {
  readonly settings: Pick<
    Settings,
    'requestTimeoutMs' | 'host' | 'dashboard' | 'adminToken' | 'intakeToken' | 'corsOrigins' | 'machineId'
  >
  /** Undefined: this instance takes nothing in. */
  readonly intake?: IntakePort
  /** Undefined: operators' actions are off, as they are without a token. */
  readonly admin?: AdminPort
  /** Undefined: there is no `/metrics`. */
  readonly metrics?: MetricsPort
  /** Undefined: there is no dashboard, whatever the settings say. */
  readonly dashboard?: DashboardPort
  /** Shared with whoever else looks at the database. Default: one of its own, by the port. */
  readonly probe?: DatabaseProbe
  /** Shared with the app on the other port. Default: one of its own. */
  readonly health?: HealthReporter
  /** What is answered besides `/live`, `/ready` and `/health`. Default: everything. */
  readonly serves?: 'everything' | 'the public' | 'operators'
}

/** The HTTP side of an instance, apart from listening: `app.fetch(request)` answers. */
export type App = Hono<Env>

/** Everything is our own and in files of its own; nobody else shows our pages in theirs, or takes our forms. */
const CONTENT_SECURITY = {
  defaultSrc: ["'none'"],
  scriptSrc: ["'self'"],
  styleSrc: ["'self'"],
  imgSrc: ["'self'", 'data:'],
  connectSrc: ["'self'"],
  formAction: ["'self'"],
  frameAncestors: ["'none'"],
  baseUri: ["'none'"],
}

/** Builds the app. It asks `port` anew at every request, and so may be made before anything else has started. */
export function createApp(port: StatusPort, log: Log, options: AppOptions): App {
  const { service, version, features, settings, admin, metrics, serves = 'everything' } = options
  const health = options.health ?? createHealth(port, { service, version, features }, log, options.probe)
  const { adminToken } = settings
  const gate = adminToken === undefined ? undefined : createTokenGate(adminToken, settings.machineId !== null)
  const dashboard =
    options.dashboard === undefined || serves === 'the public'
      ? undefined
      : createDashboard({ port: options.dashboard, admin, settings, gate, service, release: version, log })
  const { see } = dashboard?.access ?? createAccess(settings.dashboard, undefined, gate)
  const here = ownHost(settings)
  const app: App = new Hono()

  // Outermost, so that no answer is without them. Whether a domain is HTTPS alone, subdomains included, is for whoever ends
  // TLS in front of us.
  app.use(
    secureHeaders({
      strictTransportSecurity: false,
      contentSecurityPolicy: CONTENT_SECURITY,
      // The same as frame-ancestors, for browsers that do not know it.
      xFrameOptions: 'DENY',
      // With none at all, a browser would not say that a form is from our own page.
      referrerPolicy: 'same-origin',
    }),
  )
  app.use(async (context, next) => {
    await next()
    // Whoever keeps a connection open would keep sending to an instance that is about to leave.
    if (port.readiness() === 'draining') context.header('Connection', 'close')
    if (!context.res.headers.has('Cache-Control')) context.header('Cache-Control', 'no-store')
  })
  // Before what writes a line for each request: the line of a page tells enough of its files.
  if (dashboard !== undefined) app.route('/', dashboard.files)
  if (metrics !== undefined)
    app.use(async (_context, next) => {
      const answered = metrics.requested()
      await next()
      answered()
    })
  app.use(requestTrace(log))

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
    app.get('/metrics', here, async (context) =>
      context.body(await metrics.text(), 200, { 'Content-Type': metrics.contentType }),
    )
  if (options.intake !== undefined && serves !== 'operators')
    app.route('/inbox', intakeRoutes(port, options.intake, settings))
  // What is above has limits of its own, which REQUEST_TIMEOUT_SECONDS must not undercut.
  app.use(timeout(settings.requestTimeoutMs, () => new HTTPException(504)))
  if (serves !== 'the public') operatorRoutes()

  app.notFound((context) =>
    dashboard !== undefined && settings.dashboard !== 'off' && isBrowser(context)
      ? dashboard.notFound(context)
      : context.json({ error: 'not_found', message: `no such path: ${context.req.path}` }, 404),
  )
  app.onError((error, context) => {
    // Neither the message nor the stack leaves the process: a caller is given the trace id to ask with.
    const status = error instanceof HTTPException ? error.status : 500
    const message = status === 504 ? `no answer within ${settings.requestTimeoutMs} ms` : 'see the log'
    if (dashboard !== undefined && settings.dashboard !== 'off' && isBrowser(context))
      return dashboard.failed(context, status === 504, message)
    return context.json(
      { error: status === 504 ? 'timeout' : 'internal', message, trace_id: context.get('traceId') },
      status,
    )
  })
  return app

  /** What OPS_PORT, where it is set, answers alone. */
  function operatorRoutes(): void {
    app.use(here)
    app.get('/status', see, async (context) => {
      try {
        return context.json(await port.status())
      } catch (error) {
        return context.json({ error: cleanError(error).class, message: 'the database did not answer' }, 503)
      }
    })
    if (admin !== undefined && gate !== undefined) app.route('/admin', adminRoutes(admin, gate))
    if (dashboard !== undefined) app.route('/', dashboard.routes)
  }
}
