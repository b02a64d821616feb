/**
 * The dashboard: pages for people, made here and whole, so that they can be read without JavaScript; a small script only keeps
 * *Now* new, draws the charts, and asks before what cannot be taken back. Nothing is loaded from elsewhere.
 *
 *     access ─▶ who sees, who acts          frame ─▶ what all pages have          live ─▶ news of *Now* for all viewers
 *     routes/ ─▶ what is asked for          pages/ ─▶ what is shown               view/ ─▶ marks, tables, texts
 *
 * Every statement behind a page is bounded, whatever the tables hold (search.ts, walk.ts). Text from outside is shown by
 * view/text.ts alone, which makes hidden characters visible and keeps its direction to itself.
 */
import { Hono } from 'hono'
import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { Settings } from '../../config/settings.ts'
import { readInvariants } from '../../tables/invariant.ts'
import { allInvariants } from '../../tables/dashboard.ts'
import { cleanError } from '../../telemetry/errorText.ts'
import type { Log } from '../../telemetry/log.ts'
import type { AdminPort } from '../adminPort.ts'
import type { DashboardPort } from '../dashboardPort.ts'
import type { TokenGate } from '../tokenGate.ts'
import { createAccess, isSameOrigin } from './access.ts'
import type { Access, Env } from './access.ts'
import { ASSET_CACHE, ASSETS_BELOW, readAssets } from './assets.ts'
import type { Assets } from './assets.ts'
import { createFrame } from './frame.ts'
import { verify } from './pages/verify.ts'
import { actingRoutes } from './routes/acting.ts'
import { historyRoutes } from './routes/history.ts'
import { loginRoutes } from './routes/login.ts'
import { lookingRoutes } from './routes/looking.ts'
import { nowRoutes } from './routes/now.ts'
import { createSessions } from './session.ts'

export interface DashboardOptions {
  readonly port: DashboardPort
  /** Undefined: nobody may act. */
  readonly admin: AdminPort | undefined
  readonly settings: Pick<Settings, 'dashboard' | 'adminToken'>
  /** Of ADMIN_TOKEN, where there is one. */
  readonly gate: TokenGate | undefined
  readonly service: string
  readonly release: string
  readonly log: Log
}

export interface Dashboard {
  readonly routes: Hono<Env>
  /** What pages load; whoever may see no page may see these, since there is nothing in them to hide. */
  readonly files: Hono<Env>
  readonly access: Access
  /** For a path that there is not. */
  readonly notFound: (context: Context<Env>) => Response | Promise<Response>
  /** For what went wrong, or took too long. */
  readonly failed: (context: Context<Env>, late: boolean, text: string) => Response | Promise<Response>
}

export function createDashboard(options: DashboardOptions): Dashboard {
  const { port, admin, settings, gate, service, release, log } = options
  const { adminToken } = settings
  const sessions = adminToken === undefined ? undefined : createSessions(adminToken)
  const access = createAccess(settings.dashboard, sessions, gate)
  const assets = readAssets()
  const house = { service, release, paths: assets.paths, actions: sessions !== undefined }
  const frame = createFrame(house, access, sessions)
  const routes = new Hono<Env>()

  if (gate !== undefined && settings.dashboard !== 'off') routes.route('/', loginRoutes({ frame, gate, log }))

  const guarded = new Hono<Env>()
  for (const path of GUARDED) guarded.use(path, access.see)
  guarded.route('/', nowRoutes(frame, port))
  guarded.route('/', historyRoutes(frame, port))
  guarded.route('/', lookingRoutes(frame, port))
  guarded.post('/verify', verifying(frame, port))
  if (admin !== undefined && sessions !== undefined) guarded.route('/', actingRoutes(frame, port, admin))
  guarded.onError((error, context) => {
    if (error instanceof HTTPException) return error.getResponse()
    const { class: name } = cleanError(error)
    // Most of what fails here is the database.
    return frame.problem(
      context,
      503,
      'The database did not answer',
      `This page could not be read (${name}). /health tells how this instance is.`,
    )
  })
  routes.route('/', guarded)
  return {
    routes,
    files: settings.dashboard === 'off' ? new Hono<Env>() : files(assets),
    access,
    notFound: (context) =>
      frame.problem(context, 404, 'No such page', `There is nothing at ${context.req.path.slice(0, 200)}.`),
    failed: (context, late, text) =>
      late
        ? frame.problem(
            context,
            504,
            'That took too long',
            `There was ${text}. The command line has no such limit.`,
          )
        : frame.problem(context, 500, 'Something went wrong here', `It is written down: ${text}.`),
  }
}

function files({ all }: Assets): Hono<Env> {
  const routes = new Hono<Env>()
  routes.get(`${ASSETS_BELOW}*`, (context) => {
    const file = all.get(context.req.path)
    if (file === undefined) return context.json({ error: 'not_found', message: 'no such file' }, 404)
    return context.body(file.body, 200, {
      'Content-Type': file.type,
      'Cache-Control': ASSET_CACHE,
    })
  })
  return routes
}

/** What ends with a star is also the path before it: named twice, a wrong token would be counted twice. */
const GUARDED = [
  '/',
  '/now/*',
  '/history/*',
  '/messages/*',
  '/runs',
  '/jobs',
  '/verify',
  '/actions',
  '/tasks/*',
]

/** Runs every invariant; several who ask at once share one run. It changes nothing, so whoever may see may run it, by a form. */
function verifying(frame: ReturnType<typeof createFrame>, port: DashboardPort) {
  let underWay: Promise<Awaited<ReturnType<typeof run>>> | undefined

  async function run() {
    const startedAt = performance.now()
    const db = port.database()
    const [invariants, results] = [await allInvariants(db), await readInvariants((ask) => ask(db))]
    return {
      invariants,
      results: Map.groupBy(results, ({ name }) => name.split(':')[0] ?? name),
      tookMs: Math.round(performance.now() - startedAt),
    }
  }

  return async (context: Context<Env>) => {
    if (!isSameOrigin(context))
      return frame.problem(context, 403, 'Not from here', 'This form is not one of this dashboard.')
    underWay ??= run().finally(() => (underWay = undefined))
    return frame.page(context, { title: 'Verify', place: 'verify', body: verify(await underWay) })
  }
}
