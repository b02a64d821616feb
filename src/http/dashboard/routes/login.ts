import { Hono } from 'hono'
import type { Context } from 'hono'
import type { Log } from '../../../telemetry/log.ts'
import type { TokenGate } from '../../tokenGate.ts'
import { formOf, isSameOrigin, ownPath } from '../access.ts'
import type { Env } from '../access.ts'
import { formLimit } from '../formLimit.ts'
import type { Frame } from '../frame.ts'
import { NAME_LENGTH } from '../session.ts'
import { login } from '../pages/others.ts'

const BODY_BYTES = 16_384

export interface LoginOptions {
  readonly frame: Frame
  readonly gate: TokenGate
  readonly log: Log
}

/** The login and the logout; whoever is not logged in may see them. */
export function loginRoutes({ frame, gate, log }: LoginOptions): Hono<Env> {
  const { access } = frame
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
    const judged = gate.judge(context, text('token'), 'form')
    if (judged.is === 'unheard') {
      context.header('Retry-After', String(judged.waitS))
      return show(context, next, name, `Too many wrong tokens: try again in ${judged.waitS} s.`, 429)
    }
    if (judged.is === 'wrong') {
      log.event('login_refused', 'a wrong token at the dashboard’s login', {
        trace_id: context.get('traceId'),
      })
      return show(context, next, name, 'That is not the token.', 401)
    }
    if (name === '') return show(context, next, name, 'Say who you are.', 401)
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
