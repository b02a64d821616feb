/** What the address of a target gives away, and what may be shown of it. */
import { decodedPart } from '../../config/delivery.ts'

/** As it may be shown: paths of webhooks are secrets often enough. */
export function shownUrl({ protocol, host }: URL): string {
  return `${protocol}//${host}`
}

/** The header that user and password of an address are sent in. */
export function authorization(url: URL): Record<string, string> {
  const basic = basicOf(url)
  return basic === undefined ? {} : { authorization: `Basic ${basic}` }
}

/** Shorter than this it guards nothing, and would be found in the middle of words. */
const SHORTEST_SECRET = 4

/**
 * What an answer may give back to us and must not be kept: user, password, the values of the query, and what a secret of
 * signing has behind its prefix. As they stand in the address, and as the target reads them. The longest first, since one
 * may be a part of another.
 */
export function secretsOf(url: URL, signing: readonly string[]): readonly string[] {
  const values = url.search
    .slice(1)
    .split('&')
    .map((pair) => pair.slice(pair.indexOf('=') + 1))
  const raw = [url.username, url.password, ...values]
  const read = raw.map((part) => plain(part))
  const form = values.map((value) => plain(value.replaceAll('+', ' ')))
  const keys = signing.map((secret) => secret.trim().replace(/^whsec_/, ''))
  return [...new Set([...raw, ...read, ...form, basicOf(url) ?? '', ...keys])]
    .filter(({ length }) => length >= SHORTEST_SECRET)
    .toSorted((one, other) => other.length - one.length)
}

function basicOf({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined
  return Buffer.from(`${plain(username)}:${plain(password)}`).toString('base64')
}

/** What cannot be decoded stands for itself. A config refuses such a user or password; a query may well have one. */
function plain(part: string): string {
  return decodedPart(part) ?? part
}
