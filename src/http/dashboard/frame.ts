import type { Context } from 'hono'
import { isBrowser, pathOf } from './access.ts'
import type { Access, Env } from './access.ts'
import type { Session, Sessions } from './session.ts'
import { layout } from './view/layout.ts'
import type { House, PageParts } from './view/layout.ts'
import { problem } from './pages/others.ts'

/** What every route of the dashboard works with. */
export interface Frame {
  readonly house: House
  readonly access: Access
  readonly sessions: Sessions | undefined
  /** Answers with a page. */
  page(
    context: Context<Env>,
    parts: Pick<PageParts, 'title' | 'place' | 'body' | 'charts' | 'said'>,
    status?: 200 | 401 | 403 | 404 | 413 | 429 | 500 | 503 | 504,
  ): Response | Promise<Response>
  /** What a form of this session carries; undefined: whoever looks may not act. */
  formToken(context: Context<Env>): string | undefined
  /** Instead of a page that cannot be shown; JSON for programs. */
  problem(
    context: Context<Env>,
    status: 403 | 404 | 413 | 500 | 503 | 504,
    heading: string,
    text: string,
  ): Response | Promise<Response>
}

export function createFrame(house: House, access: Access, sessions: Sessions | undefined): Frame {
  // A page that is shown because the guard threw has no visitor yet.
  const sessionOf = (context: Context<Env>): Session | undefined =>
    (context.get('visitor') as Env['Variables']['visitor'] | undefined)?.session
  const formToken = (context: Context<Env>): string | undefined => {
    const session = sessionOf(context)
    return session === undefined ? undefined : sessions?.formToken(session)
  }
  const frame: Frame = {
    house,
    access,
    sessions,
    formToken,
    page(context, parts, status = 200) {
      return context.html(
        layout(house, {
          said: access.said(context),
          ...parts,
          session: sessionOf(context),
          formToken: formToken(context),
          here: pathOf(context),
        }),
        status,
      )
    },
    problem(context, status, heading, text) {
      const traceId = context.get('traceId')
      if (!isBrowser(context))
        return context.json({ error: NAMES[status], message: text, trace_id: traceId }, status)
      return frame.page(
        context,
        { title: heading, body: problem({ heading, text, traceId }), said: undefined },
        status,
      )
    },
  }
  return frame
}

const NAMES = {
  403: 'forbidden',
  404: 'not_found',
  413: 'too_large',
  500: 'internal',
  503: 'unavailable',
  504: 'timeout',
}
