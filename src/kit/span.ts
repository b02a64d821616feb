/** A span in the largest unit that says enough: `0.4 s`, `12 s`, `5 min`, `3 h`, `9 d`; `-` for none. */
export function span(seconds: number | null): string {
  if (seconds === null) return '-'
  const size = Math.abs(seconds)
  if (size < 10) return `${seconds.toFixed(1)} s`
  if (size < 120) return `${Math.round(seconds)} s`
  if (size < 7200) return `${Math.round(seconds / 60)} min`
  if (size < 172_800) return `${Math.round(seconds / 3600)} h`
  return `${Math.round(seconds / 86_400)} d`
}

/** `span` of something past. */
export function ago(seconds: number | null): string {
  return seconds === null ? '-' : `${span(seconds)} ago`
}
