import { createHash, timingSafeEqual } from 'node:crypto'

/** Compares in a time that tells nothing about either text, their lengths included. */
export function sameSecret(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(expected))
}

/** What a caller is told whose place has sent too many wrong tokens. */
export const UNHEARD = { error: 'too_many_wrong_tokens', message: 'too many wrong tokens from your address' }

/** The token of an `Authorization: Bearer …` header. */
export function bearerOf(header: string | undefined): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(header ?? '')?.[1]
}
