import { isConnectionError } from '../db/sqlstate.ts'
import { DatabaseAway, NoDatabase } from '../errors.ts'
import { verdictAway } from '../tables/verdict.ts'
import type { Verdict } from '../tables/verdict.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { messageOf } from './message.ts'
import { coloured } from './terminal.ts'

/** What a look has found, for people and for programs. */
export interface Sight {
  readonly text: string
  readonly document: unknown
}

/** What a look that failed has found. */
export function failedSight(error: unknown): Sight {
  const verdict = awayVerdict(error)
  if (verdict !== undefined) return { text: verdictLine(verdict), document: { verdict } }
  const message = messageOf(error)
  return { text: coloured('red', `could not look: ${message}`), document: { error: message } }
}

/** Undefined: it is there, and something else is wrong. */
function awayVerdict(error: unknown): Verdict | undefined {
  if (error instanceof NoDatabase || error instanceof DatabaseAway)
    return verdictAway(error.reason, error.remedy)
  return isConnectionError(error) ? verdictAway(cleanError(error).class) : undefined
}

const COLOURS = { well: 'green', note: 'yellow', person: 'red' } as const

/** The sentence that stands above everything else, and what to type first for each finding that needs a person. */
export function verdictLine({ level, sentence, findings }: Verdict): string {
  const remedies = findings.flatMap(({ needs_person: needed, text, remedy }) =>
    needed && remedy !== null ? [coloured('dim', `  ${text}: ${remedy}`)] : [],
  )
  return [coloured(COLOURS[level], sentence), ...remedies].join('\n')
}
