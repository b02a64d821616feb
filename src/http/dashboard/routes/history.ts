import { Hono } from 'hono'
import { createSeldom } from '../../../kit/seldom.ts'
import type { DashboardPort } from '../../dashboardPort.ts'
import type { Env } from '../access.ts'
import type { Frame } from '../frame.ts'
import { readChronicle, SPANS } from '../history.ts'
import type { Span } from '../history.ts'
import { history } from '../pages/history.ts'
import { EMPTY } from '../view/text.ts'

/** What is written once a minute is read for everybody who looks within this time, in milliseconds. */
const KEEP_MS = 10_000

export function historyRoutes(frame: Frame, port: DashboardPort): Hono<Env> {
  const routes = new Hono<Env>()
  // With its tables: a week has eight thousand cells, which take longer to write than to read.
  const bodies = new Map(
    spans().map((span) => {
      const ask = async () => history(span, await readChronicle(port.database(), span))
      return [span, createSeldom({ ask, everyMs: () => KEEP_MS, share: 1 })]
    }),
  )

  routes.get('/history', async (context) => {
    const asked = context.req.query('span')
    const span = spans().find((name) => name === asked) ?? 'hour'
    const body = (await bodies.get(span)?.need()) ?? EMPTY
    return frame.page(context, { title: 'History', place: 'history', body, charts: true })
  })
  return routes
}

function spans(): Span[] {
  // keys() widens to string; SPANS has exactly these.
  return Object.keys(SPANS) as Span[]
}
