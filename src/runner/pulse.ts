/**
 * The pulse: tells whether the database is there, for `/ready`, `/health` and the loops.
 *
 *     answering ──no answer──▶ away ──silent for 3 s──▶ away, connections broken ──answer──▶ answering
 *                                └──────────────────────answer───────────────────────────────▲
 *
 * Whatever is answered, to whomever, is a sign of life for 1.1 s (http/probe.ts). When there was none, or when somebody
 * waits for an answer for long, the pulse asks for one itself, over a connection of its own: an idle instance has something
 * to ask each second, so that is seldom. The pulse's own question alone judges: a statement of a loop may fail, or hang up to
 * its limit, for reasons of its own.
 *
 * - *The server is stopped*: connections break and are refused at once; the loops try again by their own backoff, and
 *   are woken when it is back.
 * - *The server is silent* (its host or the way to it vanished): statements would wait up to their limits, and
 *   connections that were swallowed stay dead after its return. Every connection is broken, again and again until it
 *   answers, and once more then; whoever waited fails at once and starts afresh. The backends of those connections may
 *   live on, with row locks and open transactions: they are ended before anything else is done.
 * - *The server is only slow*: called away, and back a second later; nothing is broken within 3 s.
 * - *Some connections are swallowed, others are answered* (a firewall forgot them, one of several proxies died): whoever waits
 *   makes the pulse ask. If its own connection is among the living, those who wait have their own limits; if not, all are broken.
 *   It is tried every 15 s in any case.
 */
import type { DatabaseProbe } from '../http/probe.ts'
import { errorClass } from '../db/sqlstate.ts'
import { startLoop } from '../kit/loop.ts'
import type { Loop } from '../kit/loop.ts'
import { endFormerBackends } from '../tables/instance.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import type { Condition } from './condition.ts'
import type { Pools } from './foundation.ts'

export interface PulseOptions {
  readonly probe: DatabaseProbe
  readonly pools: Pools
  readonly condition: Condition
  readonly applicationName: string
  readonly log: Log
}

/** Just after what is known has become too old. */
const AFTER_MS = 5

/** Just above the second for which a result is shared. */
const LOOK_MS = 1_005

/** Silence after which connections are broken; a hiccup must not cost handlers their transactions. */
const BREAK_AFTER_MS = 3_000

export function startPulse({ probe, pools, condition, applicationName, log }: PulseOptions): Loop {
  let awaySince: number | undefined
  let broken = false

  function breakAll(): void {
    pools.work.reset()
    pools.reserved.reset()
    pools.pulse.reset()
  }

  /** A role that may not end its own backends can work all the same, and they end by their own limits. */
  async function endFormer(olderThanMs: number): Promise<number> {
    try {
      return await endFormerBackends(pools.reserved, applicationName, olderThanMs)
    } catch (error) {
      if (errorClass(error) !== 'permission') throw error
      say(error, 'connections that the outage had cut off could not be ended')
      return 0
    }
  }

  function say(error: unknown, what: string): void {
    const { class: className, text } = cleanError(error)
    log.event('loop_failed', `${what}: ${text}`, { loop: 'pulse', class: className, text })
  }

  async function back(since: number): Promise<void> {
    if (broken) {
      breakAll()
      const ended = await endFormer(performance.now() - since)
      broken = false
      if (ended > 0)
        log.event('connections_ended', `ended ${ended} connections that the outage had cut off`, { ended })
    }
    awaySince = undefined
    condition.answered()
  }

  return startLoop({
    async body() {
      const result = await probe.look()
      if (result.ok) {
        if (awaySince !== undefined) await back(awaySince)
        return probe.staleInMs + AFTER_MS
      }
      awaySince ??= performance.now()
      condition.lost(result.class)
      if (result.class === 'ProbeTimeout' && performance.now() - awaySince >= BREAK_AFTER_MS) {
        broken = true
        breakAll()
      }
      return LOOK_MS
    },
    onError(error) {
      say(error, 'the look at the database failed')
      return LOOK_MS
    },
  })
}
