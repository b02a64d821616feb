const MINUTE = 60
const HOUR = 3_600
const DAY = 86_400

/** A length of time in one or two units: `18 ms`, `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`; `-` for none. */
export function span(seconds: number | null): string {
  if (seconds === null) return '-'
  if (seconds < 0) return `-${span(-seconds)}`
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  // By what they are rounded to: 59.7 s are a minute, 59.7 min an hour.
  if (Math.round(seconds) < MINUTE) return `${Math.round(seconds)} s`
  if (Math.round(seconds) < HOUR) return two(seconds, MINUTE, 'min', 1, 's')
  if (Math.round(seconds / MINUTE) * MINUTE < DAY) return two(seconds, HOUR, 'h', MINUTE, 'min')
  return two(seconds, DAY, 'd', HOUR, 'h')
}

function two(seconds: number, big: number, bigName: string, small: number, smallName: string): string {
  const all = Math.round(seconds / small)
  const [bigs, smalls] = [Math.floor((all * small) / big), all % (big / small)]
  return smalls === 0 ? `${bigs} ${bigName}` : `${bigs} ${bigName} ${smalls} ${smallName}`
}

/** `span` of something past. */
export function ago(seconds: number | null): string {
  return seconds === null ? '-' : `${span(seconds)} ago`
}
