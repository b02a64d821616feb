import { Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { secureHeaders } from 'hono/secure-headers'
import { timeout } from 'hono/timeout'
import type { Settings } from '../config/settings.ts'
import type { Log } from '../telemetry/log.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { guardDashboard } from './guard.ts'
import { createHealth, type ServiceFacts } from './health.ts'
import { intakeRoutes } from './intake.ts'
import type { IntakePort } from './intakePort.ts'
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
  /** Shared with whoever else looks at the database. Default: one of its own, by the port. */
  readonly probe?: DatabaseProbe
}

/** The HTTP side of an instance, apart from listening: `app.fetch(request)` answers. */
export type App = Hono<{ Variables: RequestVariables }>

/** Builds the app. It asks `port` anew at every request, and so may be made before anything else has started. */
export function createApp(port: StatusPort, log: Log, options: AppOptions): App {
  const { service, version, features, settings } = options
  const health = createHealth(port, { service, version, features }, log, options.probe)
  const guard = guardDashboard(settings)
  const app: App = new Hono()

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
  if (options.intake !== undefined) app.route('/inbox', intakeRoutes(port, options.intake, settings))
  // What is above has limits of its own, which REQUEST_TIMEOUT_SECONDS must not undercut.
  app.use(timeout(settings.requestTimeoutMs, () => new HTTPException(504)))
  app.get('/status', guard, async (context) => {
    try {
      return context.json(await port.status())
    } catch (error) {
      return context.json({ error: cleanError(error).class, message: 'the database did not answer' }, 503)
    }
  })
  app.get('/', guard, async (context) => context.html(page(await health.report())))

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
}
