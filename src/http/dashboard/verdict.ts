import type { Finding, Verdict } from '../../tables/verdict.ts'

/** How a verdict or a finding is shown: `act`: it does not mend itself. `watch`: it may. */
export type Shown = 'well' | 'watch' | 'act'

const SHOWN: Readonly<Record<Verdict['level'], Shown>> = { well: 'well', note: 'watch', person: 'act' }

export const shownLevel = ({ level }: Verdict): Shown => SHOWN[level]

export const shownFinding = ({ needs_person: needsPerson }: Finding): Shown => (needsPerson ? 'act' : 'watch')

/** Where to look further. */
export function pathOf({ kind, subject }: Finding): string {
  const task = subject === null ? '/' : `/tasks/${encodeURIComponent(subject)}`
  switch (kind) {
    case 'dead_messages':
      return '/messages?status=DEAD'
    case 'target_away':
      return '/#circuits'
    case 'no_instance':
    case 'draining':
    case 'lost':
      return '/#instances'
    case 'invariant_broken':
    case 'invariant_unknown':
      return '/verify'
    case 'database_away':
      return '/'
    default:
      return task
  }
}
