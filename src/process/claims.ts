/**
 * The claims of one processor: how much may be claimed now, the claim itself, and what becomes of what it brings.
 *
 * Whoever claims holds its calls from before the question until what came is in work or given back, so that a drain waits
 * for an answer on its way.
 */
import { setImmediate as immediate } from 'node:timers/promises'
import type { Pool } from '../db/pool.ts'
import type { Pressure } from '../db/pressure.ts'
import { claimMessages, claimSuspect } from '../tables/inbox.ts'
import type { ClaimedRow } from '../tables/inbox.ts'
import type { Calls, RunnableProcessor } from './calls.ts'
import { traceClaim } from './claimTrace.ts'
import { toInWork } from './inWork.ts'
import type { InWork } from './inWork.ts'
import type { Interruption } from './interruption.ts'
import type { LowWater } from './lowWater.ts'
import type { Ownership } from './ownership.ts'
import type { Quarantine, Turn } from './quarantine.ts'
import { createSlotClaims } from './slots.ts'

export interface ClaimsOptions {
  readonly pool: Pool
  readonly processor: RunnableProcessor
  readonly instanceId: string
  readonly pressure: Pressure
  readonly quarantine: Quarantine
  readonly calls: Calls
  readonly lowWater: LowWater
  readonly ownership: Ownership
  /**
   * Why nothing is claimed now although this instance may: milliseconds until it is worth asking again. Undefined: claim.
   * Whoever changes its answer wakes the processor.
   */
  readonly halted: () => number | undefined
  /** Messages to claim at once at most, as things are. */
  readonly most: () => number
  /** The wait while every message is finished and notifications are heard, in milliseconds. Default: IDLE_MS. */
  readonly quietMs?: (() => number) | undefined
  /** A message was claimed. */
  onPicked(message: InWork): void
  /** Should not happen: what a claim has brought could not be seen to. */
  readonly onError: (error: unknown) => void
  /** Why what a claim has brought may not begin any more; undefined: it may. */
  closed(): Interruption | undefined
}

export interface Claims {
  /** When the newest claim came back from the database, or was left out for a reason, by the monotonic clock. */
  readonly lastAt: number | undefined
  /** Claims what fits. Resolves to the milliseconds until the next claim is worth it. */
  next(): Promise<number>
}

/** Claims are bounded by bytes too: a few huge payloads must not fill the memory. */
const CLAIM_BYTES = 16 * 1024 * 1024

/** With nothing to do and nobody to say so: NOTIFY is only a hint, so look now and then all the same. */
export const IDLE_MS = 2_000

/** Until the next look at the connections while they are short; when they are refused, asking again is no use so soon. */
const TIGHT_MS = 25
const REFUSED_MS = 1_000

/** The loop's own turn comes with the first of these, and sends what it asks for before the second. */
async function afterNextClaim(): Promise<void> {
  await immediate()
  await immediate()
}

const NOTHING: Calls['wanted'] = { messages: 0, ahead: false }

export function createClaims(options: ClaimsOptions): Claims {
  const { pool, processor, instanceId, pressure, quarantine, calls, lowWater, ownership } = options
  const { name, from: sources, maxAttempts } = processor
  const rules = { perKey: processor.slots?.perKey ?? null, ordered: processor.ordered }
  const slots =
    rules.perKey === null && !rules.ordered
      ? undefined
      : createSlotClaims({ pool, processor, rules, instanceId, maxBytes: CLAIM_BYTES, lowWater })
  let lastAt: number | undefined

  /** What may be claimed: while connections are short, one message at a time, so that there is still progress. */
  function room(): Calls['wanted'] {
    if (pressure.state === 'refused') return NOTHING
    if (pressure.state === 'tight') return calls.inWork.size === 0 ? { messages: 1, ahead: false } : NOTHING
    return calls.wanted
  }

  async function claim(turn: Turn, limit: number, ahead: boolean, low: string): Promise<number> {
    const release = calls.hold()
    let coming: readonly InWork[] = []
    try {
      const askedAt = performance.now()
      const rows = await ask(turn, limit, ahead, low)
      lastAt = performance.now()
      for (const row of rows) if (row.fresh) lowWater.claimed(BigInt(row.inbox_id))
      // A server that crashed may have forgotten a claim; made again it has the same number, and its handler runs already.
      coming = rows.map((row) => toInWork(row, ahead)).filter((one) => !calls.has(one))
      calls.expect(coming)
      const taken = take(coming, askedAt, rows.length === limit && limit > 1).finally(release)
      if (rows.length < limit || limit === 1) await taken
      else taken.catch(options.onError)
      return rows.length
    } catch (error) {
      if (coming.length === 0) release()
      throw error
    }
  }

  function ask(turn: Turn, limit: number, ahead: boolean, low: string): Promise<readonly ClaimedRow[]> {
    // A new exclusive leader looks for what others have in work.
    const durable = processor.exclusive
    const request = { sources, instanceId, limit, low, maxAttempts, maxBytes: CLAIM_BYTES, ahead, durable }
    if (turn === 'one suspect') return slots?.claimSuspect() ?? claimSuspect(pool, request)
    return slots?.claim(limit, ahead) ?? claimMessages(pool, request)
  }

  /**
   * @param later the claim was full, and another is worth it: that is sent first, so that the database has something to do while
   * these are seen to
   */
  async function take(coming: readonly InWork[], askedAt: number, later: boolean): Promise<void> {
    if (later) await afterNextClaim()
    await traceClaim(pool, name, coming, askedAt)
    const ours = await ownership.afterAnswer(coming, askedAt)
    for (const one of coming) options.onPicked(one)
    if (ours.length < coming.length) {
      const known = new Set(ours)
      // Where it is ours after all, or nothing is known.
      calls.giveBack(
        coming.filter((one) => !known.has(one)),
        'answer of the claim too late',
      )
    }
    const closed = options.closed()
    if (closed === undefined) calls.begin(ours)
    else calls.giveBack(ours, closed)
  }

  /** Asked through a function: the compiler does not see that a look changes it. */
  const isFinished = (): boolean => lowWater.allFinished

  /**
   * Everything was finished and the clock alone asks, since whoever is told of a message comes sooner: a look tells whether
   * there is one, and spares the claim that would find none.
   */
  async function lookQuietly(): Promise<{ nothing: boolean; nextDueMs?: number | undefined }> {
    const waitedMs = performance.now() - lowWater.lookedAt
    if (!isFinished() || waitedMs < (options.quietMs?.() ?? IDLE_MS)) return { nothing: false }
    const nextDueMs = await lowWater.look()
    if (!isFinished()) return { nothing: false, nextDueMs }
    quarantine.leave(name) // a turn for suspects is over: there are none
    lastAt = performance.now()
    return { nothing: true }
  }

  return {
    get lastAt() {
      return lastAt
    },
    async next() {
      const haltedMs = options.halted()
      if (haltedMs !== undefined) {
        quarantine.leave(name)
        lastAt = performance.now() // it does not stand still, it waits
        return Math.min(IDLE_MS, haltedMs) // and comes round, so that it is seen to
      }
      if (slots !== undefined && lowWater.suspects) lowWater.suspects = await slots.someSuspect()
      const quiet = await lookQuietly()
      if (quiet.nothing) return options.quietMs?.() ?? IDLE_MS
      const wanted = room()
      const most = Math.min(wanted.messages, options.most())
      const turn = most > 0 ? quarantine.turn(name, lowWater.suspects) : 'nothing'
      if (turn === 'nothing') {
        lastAt = performance.now()
        return most > 0 ? IDLE_MS : pressure.state === 'refused' ? REFUSED_MS : TIGHT_MS
      }
      const limit = turn === 'one suspect' ? 1 : most
      const claimed = await claim(turn, limit, wanted.ahead, await lowWater.low())
      if (turn === 'one suspect') lowWater.suspects = claimed > 0
      const nextDueMs = lowWater.due(performance.now()) ? await lowWater.look() : quiet.nextDueMs
      if (claimed === limit) return 0
      if (lowWater.allFinished && claimed === 0) return options.quietMs?.() ?? IDLE_MS
      const suspectMs = lowWater.suspects ? quarantine.askableInMs : IDLE_MS
      return Math.min(IDLE_MS, nextDueMs ?? IDLE_MS, suspectMs, slots?.againMs ?? IDLE_MS)
    },
  }
}
