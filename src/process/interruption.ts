/** Why a handler call ended through no fault of its message. */
export type Interruption =
  | 'drain'
  | 'paused'
  | 'lease lost'
  | 'claimed elsewhere'
  | 'database connection lost'
  | 'no connection to be had'
  | 'its transaction could not begin'
  | 'answer of the claim too late'
  | 'no result'

/** A handler call must end for a reason that is not its message's fault: what its signal aborts with. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
  readonly reason: Interruption
  constructor(reason: Interruption) {
    super(reason)
    this.reason = reason
  }
}

/**
 * Whether an interruption counts among those in a row, of which so many make an attempt. A drain is ours alone, and a
 * handler that never began cannot be what interrupts.
 */
export function countsInARow(reason: Interruption): boolean {
  return !DOES_NOT_COUNT.has(reason)
}

const DOES_NOT_COUNT: ReadonlySet<Interruption> = new Set([
  'drain',
  'paused',
  'no connection to be had',
  'answer of the claim too late',
])
