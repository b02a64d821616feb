/** Nobody's word holds a message back for longer than this; a clock that is off, or a typing error, must not lose it. */
export const LONGEST_RETRY_AFTER_MS = 86_400_000

/** The three forms of a date that HTTP knows (RFC 9110, 5.6.7). `Date.parse` takes far more, and guesses. */
const HTTP_DATE =
  /^(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]+day, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4})$/

/**
 * Milliseconds that a `Retry-After` asks for: seconds, or a date. A date is compared with the sender's own `Date`, so that
 * two clocks that differ do no harm. Undefined when there is none, or none that can be read; a time that is over is 0.
 */
export function retryAfterMs(
  header: string | undefined,
  sentAt: string | undefined,
  now: () => number = Date.now,
): number | undefined {
  const text = header?.trim() ?? ''
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1000, LONGEST_RETRY_AFTER_MS)
  const at = httpDate(text)
  if (at === undefined) return undefined
  return Math.min(Math.max(0, at - (httpDate(sentAt?.trim() ?? '') ?? now())), LONGEST_RETRY_AFTER_MS)
}

function httpDate(text: string): number | undefined {
  if (!HTTP_DATE.test(text)) return undefined
  // asctime's form has no zone, and means GMT as the others do.
  const at = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
  return Number.isNaN(at) ? undefined : at
}
