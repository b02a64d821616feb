import type { Finding, Verdict } from '../../tables/verdict.ts'

const SHOWN = { well: 'well', note: 'watch', person: 'act' } as const

/** How a verdict is shown. `act`: it does not mend itself. `watch`: it may. */
export const shownLevel = ({ level }: Verdict): 'well' | 'watch' | 'act' => SHOWN[level]

/** How a finding is shown. */
export const shownFinding = ({ needs_person: needsPerson }: Finding): 'watch' | 'act' =>
  needsPerson ? 'act' : 'watch'

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
