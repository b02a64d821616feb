/** Why a handler call ended through no fault of its message. */
export type Interruption =
  | 'drain'
  | 'paused'
  | 'lease lost'
  | 'claimed elsewhere'
  | 'database connection lost'
  | 'no connection to be had'
  | 'no place was free'
  | 'its transaction could not begin'
  | 'answer of the claim too late'
  | 'circuit open'
  | 'target not reached'
  | 'target fails'
  | 'target asks to wait'
  | 'no result'

/** What else may be known of an interruption. */
export interface InterruptionDetail {
  /** Milliseconds before the message is claimed again. Default: by how often it was interrupted. */
  readonly waitMs?: number | undefined
  /** What is kept as the message's last error. Default: what it was. */
  readonly cause?: unknown
}

/** A handler call must end for a reason that is not its message's fault: what its signal aborts with. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
  readonly reason: Interruption
  readonly waitMs: number | undefined
  constructor(reason: Interruption, { waitMs, cause }: InterruptionDetail = {}) {
    super(reason, { cause })
    this.reason = reason
    this.waitMs = waitMs
  }
}

/**
 * Whether an interruption counts among those in a row, of which so many make an attempt. A drain is ours alone, and what
 * never began cannot be what interrupts.
 */
export function countsInARow(reason: Interruption): boolean {
  return !DOES_NOT_COUNT.has(reason)
}

/**
 * Whether the message waits as after a failure. Otherwise another instance may have it at once: unless it may be its own
 * fault (a message that breaks its connections must not run hot), or nobody else would fare better.
 */
export function backsOff(reason: Interruption): boolean {
  return reason === 'target not reached' || (countsInARow(reason) && reason !== 'lease lost')
}

const DOES_NOT_COUNT: ReadonlySet<Interruption> = new Set([
  'drain',
  'paused',
  'no connection to be had',
  'no place was free',
  'answer of the claim too late',
  'circuit open',
  'target not reached',
])
