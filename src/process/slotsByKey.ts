/**
 * Claims by key, of what is lined up: a walk from key to key, one probe each, along the keys of a source that have something
 * that waits. Several claims make one round.
 */
import type { Pool } from '../db/pool.ts'
import { claimInSlots } from '../tables/slots.ts'
import type { KeysSeen, SlotRequest, SlotRow } from '../tables/slots.ts'
import { HELD_MS, contendedMs } from './slotWay.ts'
import type { Way } from './slotWay.ts'

/** Keys that one statement walks along at most; a probe takes some microseconds. */
const LOOK_KEYS = 1_000

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

export interface SlotsByKey {
  claim(request: SlotRequest, low: string, keylessFirst: boolean): Promise<Way>
}

export function createSlotsByKey(pool: Pool): SlotsByKey {
  const rounds = new Map<string, Round>()
  const dryRounds = new Map<string, number>()
  const reaches = new Map<string, number>()
  let replannedAt = Number.NEGATIVE_INFINITY

  async function claimOf(
    request: SlotRequest,
    after: string | null,
    low: string,
    keylessFirst: boolean,
  ): Promise<{ seen: KeysSeen; rows: SlotRow[] }> {
    const { source, limit } = request
    const reach = reaches.get(source) ?? FIRST_KEYS
    const lock = Math.min(limit, reach)
    const startedAt = performance.now()
    try {
      const walk = { after, look: LOOK_KEYS, lock, keylessFirst, low }
      const claimed = await claimInSlots(pool, request, walk)
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
    return contendedMs(times)
  }

  return {
    async claim(request, low, keylessFirst) {
      const { source } = request
      const round = rounds.get(source) ?? newRound()
      const { seen, rows } = await claimOf(request, round.after, low, keylessFirst)
      return {
        rows,
        againMs: seen.has_default ? next(source, round, seen, rows) : 0,
        unknown: seen.unknown,
        hasDefault: seen.has_default,
        ordered: seen.ordered,
      }
    },
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
