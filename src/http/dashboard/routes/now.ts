import { Hono } from 'hono'
import { createSeldom } from '../../../kit/seldom.ts'
import { backlogAges } from '../../../tables/dashboard.ts'
import type { DashboardPort } from '../../dashboardPort.ts'
import type { Env } from '../access.ts'
import type { Frame } from '../frame.ts'
import { createLive } from '../live.ts'
import { now, type NowState } from '../pages/now.ts'
import { doneRates } from '../rates.ts'

/** Ages and rates are asked for less often than the status: they take longer where much waits. In milliseconds. */
const ASIDE_MS = 5_000
const AGES_LOOK = 50_000
const EVENTS = 'text/event-stream; charset=utf-8'

/** *Now*, and its news. */
export function nowRoutes(frame: Frame, port: DashboardPort): Hono<Env> {
  const routes = new Hono<Env>()
  const aside = createSeldom({
    async ask() {
      const db = port.database()
      const [ages, rates] = await Promise.all([backlogAges(db, AGES_LOOK), doneRates(db)])
      return { ages, rates }
    },
    everyMs: () => ASIDE_MS,
    share: 1,
  })

  async function state(): Promise<NowState> {
    const [status, beside] = await Promise.all([port.status(), aside.need()])
    return { status, ...beside }
  }

  const live = createLive({ read: async () => String(await now(await state())), ending: port.ending })

  routes.get('/', async (context) =>
    frame.page(context, { title: 'Now', place: 'now', body: now(await state()) }),
  )

  routes.get('/now/events', (context) => {
    // Hono answers HEAD by what answers GET and drops the body: a stream that nobody would ever read or leave.
    if (context.req.method === 'HEAD') return context.body(null, 200, { 'Content-Type': EVENTS })
    const stream = live.open()
    if (stream === undefined) {
      context.header('Retry-After', '10')
      return context.json(
        { error: 'unavailable', message: 'too many look at this, or the instance drains' },
        503,
      )
    }
    context.header('Content-Type', EVENTS)
    // Some proxies gather what they pass on unless they are told not to.
    context.header('X-Accel-Buffering', 'no')
    return context.body(stream)
  })
  return routes
}
