/**
 * Who acts: a signed cookie, and nothing kept on the server.
 *
 *     login with ADMIN_TOKEN ──▶ cookie (name, number, end) + signature ──▶ each request: signature right? not over?
 *
 * The key of the signature is derived from ADMIN_TOKEN, so every instance with that token knows every session, a deploy ends
 * none, and another token ends all. The token itself is in no cookie. The number is random; the token of forms is derived from
 * it, so a page that cannot read ours cannot make a form of ours.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { sameSecret } from '../guard.ts'

export interface Session {
  /** Who acts, as was said at the login. */
  readonly name: string
  /** Random. */
  readonly number: string
  /** Milliseconds of the epoch. */
  readonly endsAt: number
}

/** A shift. */
export const SESSION_MS = 12 * 3_600_000
export const NAME_LENGTH = 60

export interface Sessions {
  /** Makes a session, as the text of its cookie. */
  open(name: string): string
  /** Undefined: it is none of ours, or over. */
  read(cookie: string | undefined): Session | undefined
  /** What every form of the session carries. */
  formToken(session: Session): string
  isFormToken(session: Session, given: string | undefined): boolean
  /** Signs a text that the browser is to bring back. */
  sign(text: string): string
  /** Undefined: it was not signed here. */
  unsign(signed: string | undefined): string | undefined
}

/** @param now milliseconds of the epoch */
export function createSessions(adminToken: string, now = () => Date.now()): Sessions {
  const key = createHmac('sha256', adminToken).update('tidemark dashboard 1').digest()
  const mac = (purpose: string, text: string): string =>
    createHmac('sha256', key).update(`${purpose}\n${text}`).digest('base64url')

  function signFor(purpose: string, text: string): string {
    const body = Buffer.from(text).toString('base64url')
    return `${body}.${mac(purpose, body)}`
  }

  function unsignFor(purpose: string, signed: string | undefined): string | undefined {
    const [body = '', signature = '', ...more] = (signed ?? '').split('.')
    if (more.length > 0 || !sameSecret(signature, mac(purpose, body))) return undefined
    return Buffer.from(body, 'base64url').toString()
  }

  const formToken = ({ number }: Session): string => mac('form', number)
  return {
    open(name) {
      const session: Session = {
        name,
        number: randomBytes(16).toString('base64url'),
        endsAt: now() + SESSION_MS,
      }
      return signFor('session', JSON.stringify(session))
    },
    read(cookie) {
      const text = unsignFor('session', cookie)
      if (text === undefined) return undefined
      // Signed by us, so of the form that `open` gave it.
      const session = JSON.parse(text) as Session
      return session.endsAt > now() ? session : undefined
    },
    formToken,
    isFormToken: (session, given) => given !== undefined && sameSecret(given, formToken(session)),
    sign: (text) => signFor('said', text),
    unsign: (signed) => unsignFor('said', signed),
  }
}
