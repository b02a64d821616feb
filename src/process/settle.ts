import type { ResolvedProcessor } from '../config/resolved.ts'
import { DeliveryFailed } from '../errors.ts'
import { backoffMs } from '../kit/backoff.ts'
import { cleanError, errorText } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import type { Result } from './execute.ts'
import type { InWork } from './inWork.ts'
import { backsOff, countsInARow } from './interruption.ts'
import type { Interruption } from './interruption.ts'
import type { Outcomes, Settled } from './outcomes.ts'

export interface WaitsForOutcome {
  /** It is written. `againMs`: milliseconds until the message may be claimed again, if it may. */
  settled(one: InWork, againMs?: number): void
  /** Should not happen: it could not be. */
  failed(one: InWork, error: unknown): void
}

/** Turns results into outcomes, sees them written, and says what became of each message. */
export interface Settlement {
  picked(one: InWork): void
  /** Sees its outcome written, and then tells who waits for it. */
  settle(one: InWork, result: Result, durationMs: number, waits: WaitsForOutcome): void
  readonly finished: number
  readonly givenBack: number
}

export function createSettlement(
  processor: Pick<ResolvedProcessor, 'name' | 'backoff'>,
  outcomes: Outcomes,
  log: Log,
): Settlement {
  let finished = 0
  let givenBack = 0

  function fieldsOf({ message }: InWork): {
    source: string
    message_id: string
    group_key: string | null
    attempt: number
    trace_id: string
  } {
    return {
      source: message.source,
      message_id: message.messageId,
      group_key: message.groupKey,
      attempt: message.attempts,
      trace_id: message.traceId,
    }
  }

  function released(one: InWork, reason: 'done' | 'failed' | 'dead' | 'interrupted'): void {
    if (one.slot === undefined || log.leavesOut?.('slot_released') === true) return
    const msg = `${processor.name}: ${one.message.messageId} gives its slot of ${one.message.groupKey ?? ''} back: ${reason}`
    log.event('slot_released', msg, { ...fieldsOf(one), reason })
  }

  function done(one: InWork, durationMs: number): void {
    finished += 1
    if (log.leavesOut?.('message_done') !== true)
      log.event('message_done', `${processor.name}: ${one.message.messageId} done`, {
        ...fieldsOf(one),
        duration_ms: Math.round(durationMs),
        latency_ms: Math.round(one.ageMs + performance.now() - one.claimedAt),
      })
    released(one, 'done')
  }

  function interrupted(one: InWork, reason: Interruption, counted: boolean): void {
    givenBack += 1
    const cost = counted ? 'once too often, so its attempt counts' : 'its attempt does not count'
    const msg = `${processor.name}: ${one.message.messageId} interrupted: ${reason}; ${cost}`
    log.event('message_interrupted', msg, { ...fieldsOf(one), reason })
    released(one, 'interrupted')
  }

  function lost(one: InWork): void {
    const msg = `${processor.name}: ${one.message.messageId} belongs to another claim by now; nothing was written`
    log.event('message_interrupted', msg, { ...fieldsOf(one), reason: 'claimed elsewhere' })
  }

  /** `final`: no attempt after this one. */
  async function fail(
    one: InWork,
    error: unknown,
    durationMs: number,
    final: boolean,
  ): Promise<number | undefined> {
    const { message, claim } = one
    const { class: errorClass, text } = cleanError(error)
    const askedMs = error instanceof DeliveryFailed ? (error.retryAfterMs ?? 0) : 0
    const waitMs = Math.max(askedMs, Math.round(backoffMs(message.attempts, processor.backoff)))
    const times = timesOf(durationMs)
    const state: Settled = await outcomes.failed({
      ...claim,
      ...times,
      error: errorText(error),
      waitMs,
      final,
    })
    const fields = { ...fieldsOf(one), class: errorClass, text, duration_ms: Math.round(durationMs) }
    const attempt = `attempt ${message.attempts} of ${message.maxAttempts}`
    if (state === 'FAILED') {
      finished += 1
      const msg = `${processor.name}: ${message.messageId} failed, ${attempt}: ${text}; again in ${waitMs} ms`
      log.event('message_failed', msg, { ...fields, next_attempt_s: waitMs / 1000 })
      released(one, 'failed')
      return waitMs
    }
    if (state === 'DEAD') {
      finished += 1
      const msg = `${processor.name}: ${message.messageId} is DEAD after ${attempt}: ${text}`
      log.event('message_dead', msg, fields)
      released(one, 'dead')
    } else lost(one)
    return undefined
  }

  async function interrupt(
    one: InWork,
    { reason, waitMs: leastMs = 0, cause }: Result & { kind: 'interrupted' },
    durationMs: number,
  ): Promise<number | undefined> {
    // Whoever finds no connection asks for none for a while (db/pressure.ts), whatever the message.
    const counts = countsInARow(reason)
    const tries = one.message.attempts + one.interruptionsInARow
    const backoff = backsOff(reason) ? Math.round(backoffMs(tries, processor.backoff)) : 0
    const waitMs = Math.max(backoff, Math.round(leastMs))
    const error = cause === undefined ? null : errorText(cause)
    const story = { ...timesOf(durationMs), reason }
    const state = await outcomes.giveBack({ ...one.claim, ...story, waitMs, counts, error })
    if (state === 'not ours') {
      lost(one)
      return undefined
    }
    interrupted(one, reason, state !== 'given back')
    if (state !== 'DEAD') return waitMs
    const { attempts, maxAttempts, messageId } = one.message
    const msg = `${processor.name}: ${messageId} is DEAD after attempt ${attempts} of ${maxAttempts}: ${reason}`
    log.event('message_dead', msg, { ...fieldsOf(one), class: 'Interrupted', text: reason })
    return undefined
  }

  return {
    picked(one) {
      if (log.leavesOut?.('message_picked') !== true)
        log.event('message_picked', `${processor.name}: ${one.message.messageId} picked`, {
          ...fieldsOf(one),
          waited_ms: Math.round(one.ageMs),
        })
      if (one.slot === undefined || log.leavesOut?.('slot_acquired') === true) return
      const { inUse, max } = one.slot
      const msg = `${processor.name}: ${one.message.messageId} has a slot of ${one.message.groupKey ?? ''}: ${inUse} of ${max ?? 'any number'} in use`
      log.event('slot_acquired', msg, { ...fieldsOf(one), in_use: inUse, max })
    },
    settle(one, result, durationMs, waits) {
      const wait = (outcome: Promise<number | undefined>): void =>
        void outcome.then(
          (againMs) => waits.settled(one, againMs),
          (error: unknown) => waits.failed(one, error),
        )
      switch (result.kind) {
        case 'committed':
          done(one, durationMs)
          waits.settled(one)
          return
        case 'done':
          outcomes.done(one.claim, (state) => {
            if (state === 'DONE') done(one, durationMs)
            else lost(one)
            waits.settled(one)
          })
          return
        case 'failed':
          wait(fail(one, result.error, durationMs, false))
          return
        case 'dead':
          wait(fail(one, result.error, durationMs, true))
          return
        case 'interrupted':
          wait(interrupt(one, result, durationMs))
          return
        case 'not ours':
          lost(one)
          waits.settled(one)
      }
    },
    get finished() {
      return finished
    },
    get givenBack() {
      return givenBack
    },
  }
}

/** When the handler began and ended; a call that took no time at all has not begun. */
function timesOf(durationMs: number): { beganAt: number | undefined; endedAt: number } {
  const endedAt = performance.now()
  return { beganAt: durationMs === 0 ? undefined : endedAt - durationMs, endedAt }
}
