/** What passes say in the log, and when what they rely on did not hold. */
import type { Log } from '../telemetry/log.ts'
import type { PassOptions } from './pass.ts'

export interface PassLogOptions {
  readonly name: string
  readonly log: Log
  onDoubt?(reason: string): void
}

export interface PassLog extends Pick<
  Required<PassOptions>,
  'onRefusedRow' | 'onClockStepped' | 'onOtherBoot' | 'onRemade'
> {
  /** The election made the watermark row. */
  onCreated(edge: string): void
}

/** The log of one poller's passes in one term. */
export function passLog(options: PassLogOptions, term: string): PassLog {
  const { name, log } = options
  const created = (how: string, edge: string): void =>
    log.event('watermark_created', `${name}: ${how} ${edge}`, { poller: name, edge, term: Number(term) })
  return {
    onCreated: (edge) => created('there was no watermark row; it begins at', edge),
    onRefusedRow: (reason, row) =>
      log.event('row_refused', `${name}: a row could not be read and was taken in as DEAD: ${reason}`, {
        poller: name,
        reason,
        ...row,
      }),
    onClockStepped: (behindMs) => {
      const msg = `${name}: the database's clock stepped back by ${Math.round(behindMs)} ms`
      log.event('clock_stepped', msg, { by_ms: Math.round(behindMs), task: name })
      options.onDoubt?.("the database's clock stepped back")
    },
    onOtherBoot: () => options.onDoubt?.('the server was restarted, recovered or replaced'),
    onRemade: (edge) => {
      created('the watermark row was missing and has been made again at', edge)
      options.onDoubt?.('the watermark row was missing')
    },
  }
}
