/** What `npm audit --json` says, as far as it matters: severities by package, or an error in their place. */
interface Report {
  readonly vulnerabilities: Readonly<Record<string, { readonly severity?: unknown; readonly via?: unknown }>>
}

export interface Verdict {
  readonly verdict: 'sound' | 'holes' | 'unknown'
  readonly lines: readonly string[]
}

const GRAVE: ReadonlySet<unknown> = new Set(['high', 'critical'])

/** Judges the output of `npm audit --json`; what is no report of holes is an answer of nobody. */
export function judgeAudit(output: string): Verdict {
  const report = reportIn(output)
  if (report === undefined)
    return {
      verdict: 'unknown',
      lines: ['the registry gave no answer: nothing is known of holes in dependencies'],
    }
  const found = Object.entries(report.vulnerabilities)
  const grave = found.filter(([, { severity }]) => GRAVE.has(severity))
  const lines = grave.map(([name, { severity, via }]) => `${String(severity)}: ${name}: ${titlesOf(via)}`)
  if (grave.length > 0) return { verdict: 'holes', lines }
  return { verdict: 'sound', lines: [`nothing high or critical (${found.length} of lower severity)`] }
}

function reportIn(output: string): Report | undefined {
  try {
    const value: unknown = JSON.parse(output)
    const isReport =
      typeof value === 'object' &&
      value !== null &&
      'vulnerabilities' in value &&
      typeof value.vulnerabilities === 'object' &&
      value.vulnerabilities !== null &&
      !('error' in value)
    // Its values are only looked at as `unknown`.
    return isReport ? (value as Report) : undefined
  } catch {
    return undefined
  }
}

/** Names of packages, or advisories with a title and an address. */
function titlesOf(via: unknown): string {
  const all = [via].flat().map((one: unknown) => {
    if (typeof one === 'string') return `through ${one}`
    if (typeof one !== 'object' || one === null) return ''
    return ['title' in one ? String(one.title) : '', 'url' in one ? String(one.url) : ''].join(' ').trim()
  })
  return all.filter((one) => one !== '').join('; ')
}
