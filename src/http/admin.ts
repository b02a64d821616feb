import { Hono } from 'hono'
import type { Context, MiddlewareHandler } from 'hono'
import { MessageRefused, MessageUnknown, PollerPaused, PollerUnknown, TaskUnknown } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { AdminPort } from './adminPort.ts'
import { bearerOf, UNHEARD } from './guard.ts'
import type { RequestVariables } from './requestTrace.ts'
import { taskNamed } from './taskName.ts'
import type { TokenGate } from './tokenGate.ts'

/*
 * What operators may do by HTTP: pause, resume and run tasks, retry and discard messages.
 *
 * Only whoever brings ADMIN_TOKEN in `Authorization` is heard. A browser sends that header for nobody but a page that
 * has the token itself, so no other site can act through an operator's browser, and nothing here reads a cookie. The
 * token is compared as a whole in constant time, and wrong ones are counted (tokenGate.ts).
 *
 * 202: it is done, and the action on record; what it sets off follows. 404: no such task or message. 409: it is there,
 * and not in a state for that. 429: too many wrong tokens from there. Nothing of a request's body is read.
 */

interface Env {
  Variables: RequestVariables
}

/** Who acts, where the caller does not say: `From` is HTTP's own header for that. */
const NAMELESS = 'ADMIN_TOKEN'

const WHO_LENGTH = 100

/** An inbox number: as PostgreSQL's bigint holds it. */
const NUMBER = /^[1-9][0-9]{0,17}$/

export function adminRoutes(port: AdminPort, gate: TokenGate): Hono<Env> {
  const admin = new Hono<Env>()
  admin.use(guard(gate))
  admin.post('/tasks/:name/:action{pause|resume|poll}', async (context) => {
    const { name: given, action } = context.req.param()
    const name = taskNamed(given)
    return act(context, (who) =>
      action === 'poll' ? port.poll(name, who) : port.pause(name, action === 'pause', who),
    )
  })
  admin.post('/inbox/:id/:action{retry|discard}', async (context) => {
    const { id, action } = context.req.param()
    return act(context, (who) => {
      if (!NUMBER.test(id)) throw new MessageUnknown(id)
      return port.change(action === 'retry' ? 'retry' : 'discard', id, who)
    })
  })
  return admin
}

function guard(gate: TokenGate): MiddlewareHandler<Env> {
  return async (context, next) => {
    const given = bearerOf(context.req.header('Authorization'))
    const judged = given === undefined ? undefined : gate.judge(context, given, 'header')
    if (judged?.is === 'right') return next()
    if (judged?.is === 'unheard') {
      context.header('Retry-After', String(judged.waitS))
      return context.json(UNHEARD, 429)
    }
    context.header('WWW-Authenticate', 'Bearer')
    return context.json({ error: 'unauthorized', message: 'send Authorization: Bearer <ADMIN_TOKEN>' }, 401)
  }
}

async function act(context: Context<Env>, action: (who: string) => Promise<string>): Promise<Response> {
  try {
    const id = await action(whoOf(context.req.header('From')))
    return context.json({ action_id: Number(id), trace_id: context.get('traceId') }, 202)
  } catch (error) {
    const refusal = refusalOf(error)
    if (refusal !== undefined)
      return context.json({ error: refusal.error, message: refusal.message }, refusal.status)
    return context.json({ error: cleanError(error).class, message: 'the database did not do it' }, 503)
  }
}

/** What can be printed of it. */
function whoOf(from: string | undefined): string {
  const said = (from ?? '')
    .replace(/[^\x20-\x7e]/g, '')
    .trim()
    .slice(0, WHO_LENGTH)
  return said === '' ? NAMELESS : said
}

function refusalOf(
  error: unknown,
): { readonly status: 404 | 409; readonly error: string; readonly message: string } | undefined {
  if (error instanceof TaskUnknown || error instanceof PollerUnknown || error instanceof MessageUnknown)
    return { status: 404, error: 'not_found', message: error.message }
  if (error instanceof PollerPaused || error instanceof MessageRefused)
    return { status: 409, error: 'conflict', message: error.message }
  return undefined
}
