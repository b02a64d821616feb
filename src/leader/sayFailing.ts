import { errorClass } from '../db/sqlstate.ts'
import type { ErrorClass } from '../db/sqlstate.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'

/** Of failures in a row the first is said, and then one in so many. */
const SAY_EVERY = 20

/** What is said in one place for the whole instance: by the pulse, and by those who look for lost tables and rights. */
const SAID_ELSEWHERE: ReadonlySet<ErrorClass> = new Set(['connection', 'missing_table', 'permission'])

/** Says that a loop fails, once and then now and again, where nobody else does. */
export function sayFailing(
  log: Pick<Log, 'event'>,
  loop: string,
  what: string,
  task?: string,
): (error: unknown, failuresInARow: number) => void {
  return (error, failuresInARow) => {
    if (SAID_ELSEWHERE.has(errorClass(error)) || (failuresInARow !== 1 && failuresInARow % SAY_EVERY !== 0))
      return
    const { class: className, text } = cleanError(error)
    log.event('loop_failed', `${what}: ${text}`, {
      loop,
      ...(task === undefined ? {} : { task }),
      class: className,
      text,
    })
  }
}
