import { createHash, timingSafeEqual } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import type { Settings } from '../config/settings.ts'

/** Compares in a time that tells nothing about either text, their lengths included. */
export function sameSecret(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(expected))
}

/** The token of an `Authorization: Bearer …` header. */
export function bearerOf(header: string | undefined): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(header ?? '')?.[1]
}

/**
 * Who may look inside: with `public` everybody, with `token` whoever brings ADMIN_TOKEN, with `off` nobody, and
 * then the path does not exist.
 */
export function guardDashboard(settings: Pick<Settings, 'dashboard' | 'adminToken'>): MiddlewareHandler {
  return async (context, next) => {
    if (settings.dashboard === 'off') return context.notFound()
    if (settings.dashboard === 'token') {
      const given = bearerOf(context.req.header('Authorization'))
      if (
        given === undefined ||
        settings.adminToken === undefined ||
        !sameSecret(given, settings.adminToken)
      ) {
        context.header('WWW-Authenticate', 'Bearer')
        return context.json(
          { error: 'unauthorized', message: 'send Authorization: Bearer <ADMIN_TOKEN>' },
          401,
        )
      }
    }
    return next()
  }
}
