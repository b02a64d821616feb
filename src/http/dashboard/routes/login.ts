import { getConnInfo } from '@hono/node-server/conninfo'
import { Hono } from 'hono'
import type { Context } from 'hono'
import type { Log } from '../../../telemetry/log.ts'
import { sameSecret } from '../../guard.ts'
import { formOf, isSameOrigin, ownPath } from '../access.ts'
import type { Env } from '../access.ts'
import { createFailedLogins } from '../failedLogins.ts'
import { formLimit } from '../formLimit.ts'
import type { Frame } from '../frame.ts'
import { NAME_LENGTH } from '../session.ts'
import { login } from '../pages/others.ts'

const BODY_BYTES = 16_384

export interface LoginOptions {
  readonly frame: Frame
  readonly adminToken: string
  /** On Fly.io, whose proxy says which address a request is from. */
  readonly behindFly: boolean
  readonly log: Log
}

/** The login and the logout; whoever is not logged in may see them. */
export function loginRoutes({ frame, adminToken, behindFly, log }: LoginOptions): Hono<Env> {
  const { access } = frame
  const failures = createFailedLogins()
  const routes = new Hono<Env>()
  const show = (
    context: Context<Env>,
    next: string,
    name: string,
    refused?: string,
    status: 200 | 401 | 403 | 429 = 200,
  ) => frame.page(context, { title: 'Log in', body: login({ next, name, refused }) }, status)

  routes.get('/login', (context) => show(context, ownPath(context.req.query('next')), ''))

  routes.post('/login', formLimit(frame, BODY_BYTES), async (context) => {
    const form = await formOf(context)
    const text = (name: string): string => (typeof form[name] === 'string' ? form[name].trim() : '')
    const [next, name] = [ownPath(text('next')), nameOf(text('name'))]
    if (!isSameOrigin(context))
      return show(context, next, name, 'This form is not one of this dashboard.', 403)
    const from = addressOf(context, behindFly)
    const waitS = failures.waitSeconds(from)
    if (waitS > 0) {
      context.header('Retry-After', String(waitS))
      return show(context, next, name, `Too many wrong tokens: try again in ${waitS} s.`, 429)
    }
    if (!sameSecret(text('token'), adminToken)) {
      failures.failed(from)
      log.event('login_refused', 'a wrong token at the dashboard’s login', {
        trace_id: context.get('traceId'),
      })
      return show(context, next, name, 'That is not the token.', 401)
    }
    if (name === '') return show(context, next, name, 'Say who you are.', 401)
    failures.succeeded(from)
    access.open(context, name)
    log.event('login', `${name} logged in at the dashboard`, { who: name, trace_id: context.get('traceId') })
    return context.redirect(next, 303)
  })

  routes.post('/logout', formLimit(frame, BODY_BYTES), access.see, access.act, (context) => {
    access.close(context)
    return context.redirect('/', 303)
  })
  return routes
}

/** What can be printed of it. */
function nameOf(text: string): string {
  return text
    .replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '')
    .trim()
    .slice(0, NAME_LENGTH)
}

/** Whose failures are counted together. */
function addressOf(context: Context, behindFly: boolean): string {
  const said = behindFly ? context.req.header('Fly-Client-IP') : undefined
  if (said !== undefined) return said
  try {
    return getConnInfo(context).remote.address ?? 'unknown'
  } catch {
    return 'unknown' // asked without a server: a test
  }
}
