import type { ResolvedDelivery } from './resolved.ts'

export const DELIVER_URL_EXPECTED =
  "an address that begins with https:// or http://: 'https://example.com/hooks'; a % in its user or password is written %25"
export const SECRET_EXPECTED =
  "a signing secret: 'whsec_' and 24 to 64 random bytes in base64 (`openssl rand -base64 32` makes them), or a list of such"

/** The bounds of Standard Webhooks, in bytes. */
const SECRET_LEAST = 24
const SECRET_MOST = 64

const DEFAULT_TIMEOUT_MS = 30_000

export function isDeliverUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, username, password } = new URL(text)
  return (
    (protocol === 'https:' || protocol === 'http:') &&
    hostname !== '' &&
    decodedPart(username) !== undefined &&
    decodedPart(password) !== undefined
  )
}

/** A part of an address without its percent signs; undefined: one of them stands for itself, which no address may have. */
export function decodedPart(part: string): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined
  }
}

/** Node's base64 reads anything; what is not base64 would sign with another key than its receiver has. */
export function isSigningSecret(text: string): boolean {
  const [, encoded] =
    /^whsec_((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/.exec(text.trim()) ?? []
  if (encoded === undefined) return false
  const { byteLength } = Buffer.from(encoded, 'base64')
  return byteLength >= SECRET_LEAST && byteLength <= SECRET_MOST
}

/** `timeoutMs`: the processor's own. */
export function resolveDelivery(
  deliver: { url: string; secret: readonly string[]; timeout?: number | undefined },
  timeoutMs: number,
): ResolvedDelivery {
  const { url, secret: secrets, timeout = Math.min(DEFAULT_TIMEOUT_MS, timeoutMs) } = deliver
  return { kind: 'deliver', url, secrets, timeoutMs: timeout }
}
