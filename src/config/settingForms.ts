import { z } from 'zod'

/** One setting: a text that `parse` understands, or the fault `expected`. */
export function setting<T>(expected: string, parse: (text: string) => T | undefined) {
  return z.string().transform((text, context): T => {
    const value = parse(text.trim())
    if (value !== undefined) return value
    context.addIssue({ code: 'custom', message: expected })
    return z.NEVER
  })
}

/** A whole number from `min` to `max`. */
export function whole(min: number, max: number) {
  return setting(`a whole number from ${min} to ${max}`, (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    return value >= min && value <= max ? value : undefined
  })
}

/** Longest span that a timer of Node takes, in seconds; beyond it, it would fire at once. */
const MAX_SECONDS = 2_147_483

/** Seconds, fractions allowed; becomes milliseconds. */
export function seconds(min: number, max = MAX_SECONDS) {
  return setting(`seconds, a number from ${min} to ${max}`, (text) => {
    const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
    return value >= min && value <= max ? Math.round(value * 1000) : undefined
  })
}

/** `1` or `0`; `true` and `false` are taken too, as deploy tools write them. */
export const onOff = setting('1 or 0', (text) => {
  if (/^(1|true)$/i.test(text)) return true
  return /^(0|false)$/i.test(text) ? false : undefined
})

/** One of some words, in any case. */
export function oneOf<const W extends string>(...words: W[]) {
  return setting(`one of ${words.join(', ')}`, (text) => words.find((word) => word === text.toLowerCase()))
}

/** At least 16 characters: a shorter token can be guessed. */
export const token = setting('at least 16 characters', (text) => (text.length >= 16 ? text : undefined))

/** Origins as browsers name them, with commas between them; or `*` alone, any. */
export const origins = setting('origins such as https://shop.example, with commas between them', (text) => {
  const names = text.split(',').map((name) => name.trim())
  return text === '*' || names.every(isOrigin) ? names : undefined
})

/** A browser sends an origin without a path and in this form alone; anything else would never match. */
function isOrigin(name: string): boolean {
  return /^https?:/.test(name) && URL.canParse(name) && new URL(name).origin === name
}

/** A text that is not empty. */
export const text = setting('a text', (value) => (value === '' ? undefined : value))

/**
 * `postgres://user:password@host:port/database?…`, with `?host=/socket/folder` for a Unix socket. Other forms
 * that drivers know (`host=… dbname=…`, `socket:`, a bare name) are refused: pg-boss, migrations and the pools
 * would each read them in their own way.
 */
export const databaseUrl = setting('postgres://user:password@host:5432/database', (value) => {
  if (!/^postgres(ql)?:\/\//.test(value) || !URL.canParse(value)) return undefined
  const url = new URL(value)
  const hasHost = url.hostname !== '' || (url.searchParams.get('host') ?? '') !== ''
  return hasHost && url.pathname.length > 1 ? value : undefined
})
