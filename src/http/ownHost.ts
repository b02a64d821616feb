/**
 * Under which names an instance on the loopback shows what everybody may see.
 *
 * There, only this machine's programs reach it, and among them the browser, with pages from everywhere in it. What keeps those
 * apart is the name alone: a page of evil.example whose name leads to 127.0.0.1 a moment later (DNS rebinding) is one of ours
 * for its browser, reads every answer, and sends its forms with the right Origin. Only the header `Host` still tells its name. So
 * with DASHBOARD=public and a HOST of this machine, `Host` has to be a name that nobody else can have.
 *
 * With a token there is nothing to read for such a page: the cookie of a login goes to the name of that login and to no other.
 */
import type { MiddlewareHandler } from 'hono'
import { isLoopback } from '../config/settings.ts'
import type { Settings } from '../config/settings.ts'
import type { RequestVariables } from './requestTrace.ts'

const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'] as const

const REFUSAL = `without a token, this is shown on this machine alone, under its own names: ${LOOPBACK_NAMES.join(', ')}. With ADMIN_TOKEN and DASHBOARD=token it has any name`

/** Refuses whoever asks under a name that is not this machine's own, where that matters; elsewhere it does nothing. */
export function ownHost({
  host,
  dashboard,
}: Pick<Settings, 'host' | 'dashboard'>): MiddlewareHandler<{ Variables: RequestVariables }> {
  if (dashboard !== 'public' || !isLoopback(host)) return (_context, next) => next()
  const names = new Set<string>([...LOOPBACK_NAMES, nameOf(host.includes(':') ? `[${host}]` : host) ?? host])
  return async (context, next) => {
    const asked = context.req.header('Host') ?? new URL(context.req.url).host
    const name = nameOf(asked)
    if (name !== undefined && names.has(name)) return next()
    const error = { error: 'misdirected', message: REFUSAL, trace_id: context.get('traceId') }
    return context.json(error, 421)
  }
}

/** A host as browsers write it, without its port; undefined: it is none. */
function nameOf(host: string): string | undefined {
  const address = `http://${host}/`
  return /[/\\?#@]/.test(host) || !URL.canParse(address) ? undefined : new URL(address).hostname
}
