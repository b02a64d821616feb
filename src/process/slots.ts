/**
 * Slots and order: claims of a processor whose group keys have places of their own.
 *
 * A slot is in use while a message of its key is in work, and that is read from the message itself: `slot_limit.held` names
 * the messages that the newest claims of the key took, and those of them that are still PROCESSING under that claim hold
 * a slot. Whatever ends a claim (an outcome, a give-back, a reclaim, a look for strays, a person) changes the message's row
 * and so frees the slot; there is no second thing to do that could be left undone, and nothing that could leak.
 *
 *     look along the messages ──▶ lock the rows of keys that have room ──▶ claim what there is room for
 *
 * A claim is one statement, and so one round trip and one commit. Who claims of a key has its row in `slot_limit` locked and
 * writes it. The statement counts by a snapshot from before its locks, and would miss what was claimed between the two. But
 * whoever claimed then has written the row: it is not where the snapshot saw it (`ctid`), and the key is left out. Of a row
 * that is where it was, every claim that was ever made is in the snapshot, and no other can begin before this one commits.
 *
 * - *Somebody else has a key's lock, or had it since the statement began*: the key is left out this time (SKIP LOCKED). Nobody
 *   waits, so nobody can deadlock.
 * - *A key is full, paused, or its first message is held*: the walk passes it with a probe or two. Each walk goes on behind
 *   the key that got the last place of the one before, so every key has its turn, however many messages and slots another has.
 * - *A key looks claimable and is not* (a person has a row of it locked, say): the walk goes on behind it all the same.
 *   When a whole round has brought nothing, the next begins after a wait, which is longer each time.
 * - *A handler ends*: the outcome frees the slot, and the processor is woken. What other instances free is seen by the clock.
 * - *The limit is lowered*: what is in work goes on; nothing more begins until there is room.
 * - *A process dies*: its messages hold their slots until they are taken back.
 * - *The default row or a key's row is missing* (a new key, a table made again): it is entered, what is in work included.
 *
 * There are two ways to a message, and both claim under the locks of keys:
 *
 * - *By number* (slotsByNumber.ts), as without slots: what came in and never waited, as far as its keys have room. Its
 *   next_attempt_at is NULL from its coming in to its outcome, so no index changes.
 * - *By key* (slotsByKey.ts): what is *lined up*, which is everything with next_attempt_at: what failed or was given back,
 *   and what came in but has no room, so that a walk by number would pass it again and again.
 *
 * In order, each way looks at the other's first message of a key, and claims it only when its own comes first. That a look by number
 * finds the first one rests on this: what is not lined up came in behind all that was there (a poller's pages do, one after the
 * other under the lock of its watermark; whatever comes in otherwise, or late, is lined up at once), and the look begins
 * below the first one that is open. Messages from before the source had slots, or by a release that does not know them,
 * may be in any order: they are at or below `slot_limit.by_number_above`, and nothing is claimed until all of them are
 * lined up. While an instance of such a release lives, all are lined up when they come in.
 *
 * `ordered`, by the config of any instance: a key has one slot, and only its first open message by source time, then number,
 * may take it, due or not: one that waits for its retry or is DEAD holds its key. Which message is first is decided by what
 * is committed in the inbox when the claim begins; one that comes in later with an earlier time goes next.
 *
 * Messages without a key have no slot and no order, and get half of a claim at most while keys have something.
 */
import type { ResolvedProcessor } from '../config/resolved.ts'
import type { Pool } from '../db/pool.ts'
import {
  byNumberAbove,
  claimSuspectInSlots,
  enterDefault,
  enterKeys,
  lineUp,
  suspectKeys,
  trustNumbers,
} from '../tables/slots.ts'
import type { ClaimedRow } from '../tables/inbox.ts'
import type { SlotRequest, SlotRow, SlotRules } from '../tables/slots.ts'
import type { LowWater } from './lowWater.ts'
import type { Way } from './slotWay.ts'
import { createSlotsByKey } from './slotsByKey.ts'
import { createSlotsByNumber } from './slotsByNumber.ts'

export interface SlotClaimsOptions {
  readonly pool: Pool
  readonly processor: Pick<ResolvedProcessor, 'from' | 'maxAttempts'>
  readonly rules: SlotRules
  readonly instanceId: string
  readonly maxBytes: number
  readonly lowWater: LowWater
}

export interface SlotClaims {
  /** Claims up to so many messages. */
  claim(limit: number, ahead?: boolean): Promise<ClaimedRow[]>
  /** Claims one suspect whose key has room. */
  claimSuspect(): Promise<ClaimedRow[]>
  /** Whether a suspect may be claimed now; one whose key is full or held would make the others wait in vain. */
  someSuspect(): Promise<boolean>
  /** Milliseconds until the next claim is worth it, as the newest one saw it. */
  readonly againMs: number
}

/** Messages lined up in one statement. */
const LINE_UP = 2_000

/** Few come in otherwise, and most claims have enough without them. */
const LINE_UP_EVERY_MS = 50

/** The processor looks that often by itself. */
const IDLE_MS = 2_000

/** While the way by number brings messages, and nothing could be claimed by key lately. */
const BY_KEY_EVERY_MS = 50

/** Until an instance that knows nothing of the way by number is looked for again. */
const ENTER_EVERY_MS = 10_000

export function createSlotClaims(options: SlotClaimsOptions): SlotClaims {
  const { pool, rules, instanceId, maxBytes, lowWater } = options
  const { from: sources, maxAttempts } = options.processor
  const byKey = createSlotsByKey(pool)
  const byNumber = createSlotsByNumber(pool)
  const unknown = new Map<string, readonly string[]>()
  /** An instance that asks for order is heeded by those that do not (yet). */
  const orderedElsewhere = new Set<string>()
  const ordered = (source: string): boolean => rules.ordered || orderedElsewhere.has(source)
  let entered = false
  let enteredAt = Number.NEGATIVE_INFINITY
  let above = new Map<string, string | null>()
  /** Where the next look by number begins; nothing that is not lined up is open at or below it, as far as can be seen. */
  const lows = new Map<string, bigint>()
  let known = 0n
  let lookedAt = Number.NEGATIVE_INFINITY
  /** When what is in any order was lined up to its end. */
  const linedUpAt = new Map<string, number>()
  /** By key comes first from then on; it alternates while both ways bring messages. */
  const byKeyFrom = new Map<string, number>()
  let turn = 0
  let againMs = 0

  /** What the newest claims missed. Before a claim: what one has brought must reach its caller, whatever fails. */
  async function enter(): Promise<void> {
    const waits = sources.some((source) => (above.get(source) ?? null) === null)
    if (!entered || (waits && performance.now() > enteredAt + ENTER_EVERY_MS)) {
      await (entered ? trustNumbers(pool, sources) : enterDefault(pool, sources, rules))
      above = await byNumberAbove(pool, sources)
      enteredAt = performance.now()
    }
    entered = true
    for (const [source, keys] of unknown) {
      await enterKeys(pool, source, keys, lowWater.settled)
      unknown.delete(source)
    }
  }

  /**
   * Begins again where the low-water mark says, when it went back. That mark is the least of all sources: one that is far ahead
   * of a quiet one also goes back to what a look back has found below its own.
   */
  async function look(): Promise<void> {
    const low = BigInt(await lowWater.low())
    if (low < known) {
      lows.clear()
      linedUpAt.clear()
    }
    known = low
    if (lowWater.lookedAt !== lookedAt) {
      lookedAt = lowWater.lookedAt
      const first = lowWater.firstNew
      for (const [source, at] of lows) if (first !== undefined && first <= at) lows.set(source, first - 1n)
    }
    for (const source of sources) if ((lows.get(source) ?? -1n) < low) lows.set(source, low)
  }

  function passed(source: string, low: bigint): void {
    lows.set(source, low)
    const least = [...lows.values()].reduce((a, b) => (a < b ? a : b))
    if (least <= known) return
    lowWater.claimed(least)
    known = least
  }

  /** In order: lines up what is in any order. Resolves to the milliseconds until it is worth it again, or undefined: all is. */
  async function inOrder(source: string): Promise<number | undefined> {
    const low = lows.get(source) ?? 0n
    const upTo = above.get(source) ?? null
    const at = linedUpAt.get(source)
    if (upTo !== null && low >= BigInt(upTo)) return undefined
    if (upTo === null && at !== undefined && at + LINE_UP_EVERY_MS > performance.now()) return undefined
    const unlined = { above: low.toString(), upTo, limit: LINE_UP, inWork: true }
    const { messages, passed: some, head } = await lineUp(pool, source, unlined)
    if (some) return LINE_UP_EVERY_MS
    if (messages === LINE_UP) return 0
    linedUpAt.set(source, performance.now())
    passed(source, BigInt(upTo ?? head))
    return undefined
  }

  const request = (source: string, limit: number, ahead = false): SlotRequest => ({
    source,
    instanceId,
    limit,
    maxAttempts,
    maxBytes,
    ordered: ordered(source),
    ahead,
  })

  function heed(source: string, way: Way): void {
    entered &&= way.hasDefault
    if (way.unknown.length > 0) unknown.set(source, way.unknown)
    if (way.ordered && !rules.ordered && !orderedElsewhere.has(source)) againMs = 0
    if (way.ordered) orderedElsewhere.add(source)
    else orderedElsewhere.delete(source)
    againMs = way.hasDefault && way.rows.length === 0 ? Math.min(againMs, way.againMs) : 0
  }

  async function claimByKey(source: string, limit: number, ahead: boolean): Promise<SlotRow[]> {
    const low = (lows.get(source) ?? 0n).toString()
    const way = await byKey.claim(request(source, limit, ahead), low, turn % 2 === 0)
    heed(source, way)
    byKeyFrom.set(source, way.rows.length > 0 ? 0 : performance.now() + BY_KEY_EVERY_MS)
    return way.rows
  }

  async function claimByNumber(source: string, limit: number, ahead: boolean): Promise<SlotRow[]> {
    const way = await byNumber.claim(request(source, limit, ahead), lows.get(source) ?? 0n, turn % 2 === 0)
    heed(source, way)
    above.set(source, way.above)
    passed(source, way.low)
    return way.rows
  }

  async function claimOf(source: string, limit: number, ahead: boolean): Promise<SlotRow[]> {
    if (ordered(source)) {
      const waitMs = await inOrder(source)
      if (waitMs !== undefined) {
        againMs = Math.min(againMs, waitMs)
        return []
      }
    }
    if (ordered(source) && (above.get(source) ?? null) === null) return await claimByKey(source, limit, ahead)
    const from = byKeyFrom.get(source) ?? 0
    const keysFirst = from === 0 ? turn % 2 === 0 : performance.now() > from
    const [first, second] = keysFirst ? [claimByKey, claimByNumber] : [claimByNumber, claimByKey]
    const rows = await first(source, limit, ahead)
    return rows.length > 0 ? rows : await second(source, limit, ahead)
  }

  return {
    get againMs() {
      return againMs
    },
    async claim(limit, ahead = false) {
      await enter()
      await look()
      againMs = IDLE_MS
      turn += 1
      for (let i = 0; i < sources.length; i += 1) {
        const source = sources[(turn + i) % sources.length]
        if (source === undefined) break
        const rows = await claimOf(source, limit, ahead)
        if (rows.length > 0) return rows
      }
      return []
    },
    async claimSuspect() {
      await look()
      for (const { source, group_key: key } of await suspectKeys(pool, sources, rules.ordered)) {
        if (ordered(source) && (await inOrder(source)) !== undefined) continue
        const low = (lows.get(source) ?? 0n).toString()
        const rows = await claimSuspectInSlots(pool, request(source, 1), key, low)
        if (rows.length > 0) return rows
      }
      return []
    },
    someSuspect: async () => (await suspectKeys(pool, sources, rules.ordered)).length > 0,
  }
}
