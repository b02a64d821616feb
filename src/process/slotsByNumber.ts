/**
 * Claims by number, of what is not lined up: from the first message that is open on, as far as their keys have room.
 *
 * What has no room stays where it is, and each look passes it again: its key may have room the next time. The look gets
 * longer, up to some times what is asked for. When even that has too little, most of what it met waits behind its keys, and
 * that is lined up, so that the next look begins behind it.
 */
import type { Pool } from '../db/pool.ts'
import { claimByNumber, lineUp } from '../tables/slots.ts'
import type { NumbersSeen, SlotRequest } from '../tables/slots.ts'
import { HELD_MS, contendedMs } from './slotWay.ts'
import type { Way } from './slotWay.ts'

/** A look is so many times as long as what is asked for at most, and may be so long in any case; a message costs it a microsecond. */
const LOOK_TIMES = 4
const LOOK_LEAST = 200

export interface NumberWay extends Way {
  readonly low: bigint
  /** As `by_number_above` of the source is now. */
  readonly above: string | null
}

export interface SlotsByNumber {
  /** `low`: where the look begins, and, in the answer, where the next one does. */
  claim(request: SlotRequest, low: bigint, keylessFirst: boolean): Promise<NumberWay>
}

export function createSlotsByNumber(pool: Pool): SlotsByNumber {
  /** How many messages a look passes, as a multiple of what is asked for. */
  const times = new Map<string, number>()
  const contended = new Map<string, number>()

  /** Lines up what a look has met, when that was long and most of it waits. */
  async function clear(source: string, low: bigint, seen: NumbersSeen): Promise<void> {
    if (seen.last === null) return
    const unlined = { above: low.toString(), upTo: seen.last, limit: seen.looked, inWork: false }
    await lineUp(pool, source, unlined)
  }

  /** Milliseconds until the next look is worth it. */
  function again(source: string, seen: NumbersSeen, cut: boolean): number {
    if (seen.unknown.length > 0 || cut) return 0
    if (seen.looked === 0) return Number.POSITIVE_INFINITY
    if (seen.room === 0 || seen.paused) return HELD_MS
    const before = contended.get(source) ?? 0
    contended.set(source, before + 1)
    return contendedMs(before)
  }

  return {
    async claim(request, low, keylessFirst) {
      const { source, limit } = request
      const most = Math.max(LOOK_TIMES, Math.ceil(LOOK_LEAST / limit))
      const factor = Math.min(times.get(source) ?? 1, most)
      const look = Math.ceil(limit * factor)
      // Others have what the first ones need, so all are tried.
      const tried = (contended.get(source) ?? 0) > 0 ? look : limit
      const { seen, rows } = await claimByNumber(pool, request, {
        above: low.toString(),
        look,
        tried,
        keylessFirst,
      })
      // While the source is paused there is nothing behind them either.
      const cut = seen.looked === look && rows.length < limit && !seen.paused
      const stuck = cut && factor === most && seen.unknown.length === 0 && seen.room < limit
      if (stuck) await clear(source, low, seen)
      times.set(source, cut ? factor * 2 : Math.max(1, factor / 2))
      if (rows.length > 0) contended.delete(source)
      return {
        rows,
        low: seen.left === null ? BigInt(seen.last ?? low) : BigInt(seen.left) - 1n,
        againMs: again(source, seen, cut && (stuck || factor < most)),
        unknown: seen.unknown,
        hasDefault: seen.has_default,
        ordered: seen.ordered,
        above: seen.above,
      }
    },
  }
}
