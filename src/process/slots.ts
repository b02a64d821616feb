/**
 * Slots and order: claims of a processor whose group keys have places of their own.
 *
 * A slot is in use while a message of its key is in work, and that is read from the message itself: `slot_limit.held` names
 * the messages that the newest claims of the key took, and those of them that are still PROCESSING under that claim hold
 * a slot. Whatever ends a claim (an outcome, a give-back, a reclaim, a look for strays, a person) changes the message's row
 * and so frees the slot; there is no second thing to do that could be left undone, and nothing that could leak.
 *
 *     walk from key to key ──▶ lock the rows of those that have room ──▶ claim what there is room for
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
 * - *Messages came in before the source had slots, or by a release that does not know them*: they are lined up first. Where
 *   order is asked for, nothing is claimed until all of them are: the first of a key may be the last that is lined up.
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
  claimInSlots,
  claimSuspectInSlots,
  enterDefault,
  enterKeys,
  lineUp,
  suspectKeys,
} from '../tables/slots.ts'
import type { ClaimedRow } from '../tables/inbox.ts'
import type { KeysSeen, SlotRequest, SlotRow, SlotRules } from '../tables/slots.ts'
import type { LowWater } from './lowWater.ts'

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
  claim(limit: number): Promise<ClaimedRow[]>
  /** Claims one suspect whose key has room. */
  claimSuspect(): Promise<ClaimedRow[]>
  /** Whether a suspect may be claimed now; one whose key is full or held would make the others wait in vain. */
  someSuspect(): Promise<boolean>
  /** Milliseconds until the next claim is worth it, as the newest one saw it. */
  readonly againMs: number
}

/** Keys that one statement walks along at most; a probe takes some microseconds. */
const LOOK_KEYS = 1_000

/** Messages lined up in one statement. */
const LINE_UP = 2_000

/**
 * Keys that a claim locks at first; each is a few probes, and a lock that others pass by. When their messages do not fill
 * the claim, the next one takes so many times more of them, up to one for each message; when fewer had done, fewer.
 */
const FIRST_KEYS = 8
const KEYS_STEP = 4

/**
 * A claim is prepared, and its plan may be from when the tables were nearly empty: then it reads them whole, key by key, until
 * somebody ANALYZEs them. One that takes so long has its statement planned anew, for the tables as they are.
 */
const SLOW_MS = 100
const REPLAN_EVERY_MS = 2_000

/** Few come in otherwise, and most claims have enough without them. */
const LINE_UP_EVERY_MS = 50

/** The processor looks that often by itself. */
const IDLE_MS = 2_000

/** While something waits for a slot that another instance may free, or for a person. */
const HELD_MS = 250

/** Somebody else had what was wanted, for milliseconds as a rule. Not all at once again, and up to HELD_MS each time. */
const CONTENDED_MS = 5
const CONTENDED_SPREAD_MS = 15

/** A walk along the keys of a source, over several claims. */
interface Round {
  /** The next claim looks behind this key; null: from the first one on. */
  after: string | null
  /** Nothing has come since it began with the first key. */
  dry: boolean
  wanted: boolean
  looked: boolean
}

const newRound = (): Round => ({ after: null, dry: true, wanted: false, looked: false })

export function createSlotClaims(options: SlotClaimsOptions): SlotClaims {
  const { pool, rules, instanceId, maxBytes, lowWater } = options
  const { from: sources, maxAttempts } = options.processor
  const rounds = new Map<string, Round>()
  const dryRounds = new Map<string, number>()
  const reaches = new Map<string, number>()
  let replannedAt = Number.NEGATIVE_INFINITY
  const unknown = new Map<string, readonly string[]>()
  /** An instance that asks for order is heeded by those that do not (yet). */
  const orderedElsewhere = new Set<string>()
  const ordered = (source: string): boolean => rules.ordered || orderedElsewhere.has(source)
  let entered = false
  let linedUpAt = Number.NEGATIVE_INFINITY
  let allLinedUp = false
  let turn = 0
  let againMs = 0

  /** What the newest claims missed. Before a claim: what one has brought must reach its caller, whatever fails. */
  async function enter(): Promise<void> {
    if (!entered) await enterDefault(pool, sources, rules)
    entered = true
    for (const [source, keys] of unknown) {
      await enterKeys(pool, source, keys)
      unknown.delete(source)
    }
  }

  /** Resolves to the milliseconds until the next look for what is not lined up. */
  async function linedUp(): Promise<number> {
    const waitMs = linedUpAt + LINE_UP_EVERY_MS - performance.now()
    if (waitMs > 0) return waitMs
    const { messages, last, head, passed } = await lineUp(pool, sources, await lowWater.low(), LINE_UP)
    allLinedUp = messages < LINE_UP && !passed
    if (messages === LINE_UP) {
      if (last !== null && !passed) lowWater.claimed(BigInt(last))
      return 0
    }
    linedUpAt = performance.now()
    if (passed) return LINE_UP_EVERY_MS
    lowWater.claimed(BigInt(head))
    return IDLE_MS
  }

  async function claimOf(
    source: string,
    after: string | null,
    limit: number,
  ): Promise<{ seen: KeysSeen; rows: SlotRow[] }> {
    const reach = reaches.get(source) ?? FIRST_KEYS
    const lock = Math.min(limit, reach)
    const startedAt = performance.now()
    try {
      const walk = { after, look: LOOK_KEYS, lock, keylessFirst: turn % 2 === 0 }
      const claimed = await claimInSlots(pool, request(source, limit), walk)
      const nothing = claimed.rows.length === 0 && met(claimed.seen) === 0
      // After a lull the first claims are small again: a plan from then is found out by a few keys, not by a thousand.
      reaches.set(source, nothing ? FIRST_KEYS : nextReach(reach, lock, limit, claimed))
      return claimed
    } finally {
      const endedAt = performance.now()
      if (endedAt - startedAt > SLOW_MS && endedAt > replannedAt + REPLAN_EVERY_MS) {
        replannedAt = endedAt
        pool.replan()
      }
    }
  }

  const request = (source: string, limit: number): SlotRequest => ({
    source,
    instanceId,
    limit,
    maxAttempts,
    maxBytes,
    ordered: ordered(source),
  })

  /** Where the next walk begins, and when it is worth it. */
  function next(source: string, round: Round, seen: KeysSeen, rows: readonly SlotRow[]): number {
    const { keys, wanted, at_end: atEnd, last } = seen
    if (rows.length > 0) {
      const reached = lastKey(seen, rows)
      dryRounds.delete(source)
      // With no more places, or bytes, the others have not had their turn.
      if (atEnd && reached === (keys.at(-1) ?? null) && wanted === keys.length) rounds.delete(source)
      else
        rounds.set(source, {
          ...newRound(),
          after: reached ?? (keys.length + seen.unknown.length > 0 ? round.after : last),
          dry: false,
        })
      return 0
    }
    if (seen.unknown.length > 0) return 0
    round.wanted ||= wanted > 0
    round.looked ||= seen.looked > 0
    if (!atEnd) {
      rounds.set(source, { ...round, after: last })
      return 0
    }
    rounds.delete(source)
    if (!round.dry) return 0
    if (!round.wanted) return round.looked ? HELD_MS : Number.POSITIVE_INFINITY
    const times = dryRounds.get(source) ?? 0
    dryRounds.set(source, times + 1)
    return Math.min(HELD_MS, (CONTENDED_MS + Math.random() * CONTENDED_SPREAD_MS) * 2 ** times)
  }

  return {
    get againMs() {
      return againMs
    },
    async claim(limit) {
      await enter()
      againMs = await linedUp()
      turn += 1
      for (let i = 0; i < sources.length; i += 1) {
        const source = sources[(turn + i) % sources.length]
        if (source === undefined) break
        if (ordered(source) && !allLinedUp) continue
        const round = rounds.get(source) ?? newRound()
        const { seen, rows } = await claimOf(source, round.after, limit)
        entered &&= seen.has_default
        if (seen.unknown.length > 0) unknown.set(source, seen.unknown)
        if (seen.ordered && !rules.ordered) againMs = orderedElsewhere.has(source) ? againMs : 0
        if (seen.ordered) orderedElsewhere.add(source)
        else orderedElsewhere.delete(source)
        againMs = Math.min(againMs, seen.has_default ? next(source, round, seen, rows) : 0)
        if (rows.length > 0) return rows
      }
      return []
    },
    async claimSuspect() {
      await linedUp()
      for (const { source, group_key: key } of await suspectKeys(pool, sources, rules.ordered)) {
        if (ordered(source) && !allLinedUp) continue
        const rows = await claimSuspectInSlots(pool, request(source, 1), key)
        if (rows.length > 0) return rows
      }
      return []
    },
    someSuspect: async () => (await suspectKeys(pool, sources, rules.ordered)).length > 0,
  }
}

/** Keys with something to claim, as far as they are known. */
const met = ({ wanted, unknown }: KeysSeen): number => wanted + unknown.length

/** How many keys the next claims lock, by what these have given. One for few messages says nothing of those for many. */
function nextReach(
  reach: number,
  lock: number,
  limit: number,
  { seen, rows }: { seen: KeysSeen; rows: readonly SlotRow[] },
): number {
  if (rows.length < limit)
    return met(seen) < lock ? reach : Math.max(reach, Math.min(limit, lock * KEYS_STEP))
  if (lock < reach) return reach
  const used = new Set(rows.map(({ slot_key: key }) => key)).size
  return Math.min(reach, Math.max(FIRST_KEYS, used * KEYS_STEP))
}

/** The last key in turn that got a place. */
function lastKey({ keys }: KeysSeen, rows: readonly SlotRow[]): string | null {
  const got = new Set(rows.map(({ slot_key: key }) => key))
  return keys.findLast((key) => got.has(key)) ?? null
}
