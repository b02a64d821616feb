/**
 * Who may see and who may act.
 *
 *     DASHBOARD off ─▶ 404, as if nothing were here
 *     DASHBOARD token ─▶ a session, or the token in the header; else the login page (a program: 401)
 *     DASHBOARD public ─▶ everybody sees
 *     a form ─▶ a session, its form token, and an Origin that is ours; else nothing is done
 *
 * Payloads are shown only to whoever has the token. A form's answer is always a redirect, so that a reload repeats nothing.
 */
import type { Context, MiddlewareHandler } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import type { Settings } from '../../config/settings.ts'
import { bearerOf, UNHEARD } from '../guard.ts'
import type { RequestVariables } from '../requestTrace.ts'
import type { Judgement, TokenGate } from '../tokenGate.ts'
import type { Session, Sessions } from './session.ts'
import { SESSION_MS } from './session.ts'
import type { Said } from './view/layout.ts'

/** Who asks. */
export interface Visitor {
  /** Undefined: nobody who logged in. */
  readonly session: Session | undefined
  /** Has shown the token: by a session, or in the header. */
  readonly trusted: boolean
}

export interface Env {
  Variables: RequestVariables & { visitor: Visitor }
}

export const SESSION_COOKIE = 'tidemark_session'
const SAID_COOKIE = 'tidemark_said'
const SAID_SECONDS = 60
/** A path of ours and nothing else: neither `//host` nor `/\host`, which browsers take for another host. */
const OWN_PATH = /^\/(?![/\\])[\x21-\x7e]*$/

export interface Access {
  /** Lets in whoever may see. */
  readonly see: MiddlewareHandler<Env>
  /** Lets through a form of ours, by somebody who may act. */
  readonly act: MiddlewareHandler<Env>
  open(context: Context<Env>, name: string): void
  close(context: Context<Env>): void
  /** Says something on the next page. */
  say(context: Context<Env>, said: Said): void
  /** What is to be said on this page; once. */
  said(context: Context<Env>): Said | undefined
}

/** @param sessions undefined: nobody can log in  @param gate undefined: there is no token */
export function createAccess(
  dashboard: Settings['dashboard'],
  sessions: Sessions | undefined,
  gate: TokenGate | undefined,
): Access {
  function bearerJudged(context: Context<Env>): Judgement | undefined {
    const bearer = bearerOf(context.req.header('Authorization'))
    return bearer === undefined ? undefined : gate?.judge(context, bearer, 'header')
  }

  function cookie(context: Context<Env>, name: string, value: string, seconds: number): void {
    setCookie(context, name, value, {
      path: '/',
      httpOnly: true,
      sameSite: 'Strict',
      secure: isHttps(context),
      maxAge: seconds,
    })
  }

  return {
    see: async (context, next) => {
      if (dashboard === 'off') return context.notFound()
      const session = sessions?.read(getCookie(context, SESSION_COOKIE))
      const judged = bearerJudged(context)
      const trusted = session !== undefined || judged?.is === 'right'
      context.set('visitor', { session, trusted })
      if (dashboard === 'public' || trusted) return next()
      if (judged?.is === 'unheard') {
        context.header('Retry-After', String(judged.waitS))
        return context.json(UNHEARD, 429)
      }
      if (isBrowser(context)) return context.redirect(loginFor(context), 303)
      context.header('WWW-Authenticate', 'Bearer')
      return context.json({ error: 'unauthorized', message: 'send Authorization: Bearer <ADMIN_TOKEN>' }, 401)
    },
    act: async (context, next) => {
      const { session } = context.get('visitor')
      if (session === undefined) return context.redirect('/login', 303)
      const form = await formOf(context)
      const given = form['form_token']
      const isOurs =
        isSameOrigin(context) &&
        sessions?.isFormToken(session, typeof given === 'string' ? given : undefined) === true
      if (!isOurs) return context.text('This form is not one of this dashboard: nothing was done.', 403)
      return next()
    },
    open: (context, name) => {
      if (sessions !== undefined)
        cookie(context, SESSION_COOKIE, sessions.open(name), Math.floor(SESSION_MS / 1000))
    },
    close: (context) => void deleteCookie(context, SESSION_COOKIE, { path: '/' }),
    say: (context, said) => {
      if (sessions !== undefined)
        cookie(context, SAID_COOKIE, sessions.sign(JSON.stringify(said)), SAID_SECONDS)
    },
    said: (context) => {
      const text = sessions?.unsign(getCookie(context, SAID_COOKIE))
      if (text === undefined) return undefined
      deleteCookie(context, SAID_COOKIE, { path: '/' })
      // Signed by us, so of the form that `say` gave it.
      return JSON.parse(text) as Said
    },
  }
}

/** Whether a person reads the answer. */
export function isBrowser(context: Context): boolean {
  return (context.req.header('Accept') ?? '').includes('text/html')
}

/** What a form says; nothing where it is none, which only programs send. */
export async function formOf(context: Context): Promise<Readonly<Record<string, string | File>>> {
  try {
    return await context.req.parseBody()
  } catch (error) {
    // Hono's own: a form that cannot be read. Anything else, such as a body beyond its limit, is not ours to answer.
    if (error instanceof TypeError) return {}
    throw error
  }
}

/** Where the login leads back to; `/` for whatever is no path of ours. */
export function ownPath(path: string | undefined): string {
  return path !== undefined && OWN_PATH.test(path) ? path : '/'
}

export function pathOf(context: Context): string {
  const { pathname, search } = new URL(context.req.url)
  return pathname + search
}

function loginFor(context: Context): string {
  const here = context.req.method === 'GET' ? pathOf(context) : '/'
  return here === '/' ? '/login' : `/login?next=${encodeURIComponent(here)}`
}

/**
 * Browsers say with every POST which site its form is from. Who sends neither header is no browser of today, and has the form's
 * token to bring.
 */
export function isSameOrigin(context: Context): boolean {
  const origin = context.req.header('Origin')
  if (origin === undefined) {
    const site = context.req.header('Sec-Fetch-Site')
    return site === undefined || site === 'same-origin'
  }
  const host = context.req.header('Host') ?? new URL(context.req.url).host
  return URL.canParse(origin) && new URL(origin).host === host
}

/** Whoever ends TLS in front of us says so; who lies about it only keeps his own browser from sending the cookie. */
function isHttps(context: Context): boolean {
  const [forwarded = ''] = (context.req.header('X-Forwarded-Proto') ?? '').split(',')
  return forwarded.trim() === 'https' || new URL(context.req.url).protocol === 'https:'
}
