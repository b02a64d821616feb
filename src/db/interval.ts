/**
 * A time span as every PostgreSQL reads it: in seconds, to the microsecond. Before 15 a field of an interval is a number of
 * 32 bits, and `2592000000 ms`, a retention of 30 days, is out of range.
 */
export function interval(ms: number): string {
  return `${(ms / 1000).toFixed(6)} s`
}
