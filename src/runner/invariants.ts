/**
 * Whether the invariants hold, for `/metrics`: asked while somebody scrapes, in rounds, once a minute in all instances together.
 *
 *     nobody scrapes ── look ──▶ list ──▶ ask one ──▶ rest ──▶ ask the next ──▶ … ──▶ a minute is over, look ──▶ list …
 *
 * Each stands on its own: it has its own limit and its own verdict, which others neither wait for nor lose. Over a large inbox
 * some read for seconds, or up to the limit in vain; then such a one sits out rounds until it keeps to its share of the time, so
 * that no disk is read all day, and no snapshot kept from which rows that are updated could not be pruned. Between two of them
 * there is a rest of the same measure, so that a round is no burst that the work beside it would feel.
 *
 * - *It does not end within its limit, or is refused*: it is not known, and said to be so (`ok` is null).
 * - *The database goes away*: nothing is known (`forget`), and the round is made up for by the next one.
 */
import type { Pool } from '../db/pool.ts'
import { withTransaction } from '../db/transaction.ts'
import { pause } from '../kit/pause.ts'
import { createSeldom, SHARE } from '../kit/seldom.ts'
import type { Seldom } from '../kit/seldom.ts'
import { listChecks, runCheck } from '../tables/invariant.ts'
import type { Check, Lend } from '../tables/invariant.ts'

const ROUND_MS = 60_000
const LIMIT_MS = 20_000
/** Verdicts of so many rounds ago are told no more. */
const ROUNDS_KEPT = 3

export interface Verdict {
  readonly name: string
  /** Null: it could not be checked. */
  readonly ok: boolean | null
}

export interface Invariants {
  /** What is known of those that were asked. Begins a round when one is due, and waits for nothing. */
  look(): readonly Verdict[]
  forget(): void
}

export interface InvariantsOptions {
  /** The work pool: leases and heartbeats must not wait for somebody who looks. Throws when there is none. */
  readonly pool: () => Pool
  /** How many instances take turns. */
  readonly living: () => number
  /** Ends what would hold up the end of the instance. */
  readonly signal: AbortSignal
  /** Of one, in milliseconds. Default: 20 s. */
  readonly limitMs?: number
}

interface Asked {
  check: Check
  readonly verdict: Seldom<boolean | null>
}

export function createInvariants(options: InvariantsOptions): Invariants {
  const { pool, living, signal, limitMs = LIMIT_MS } = options
  const everyMs = (): number => ROUND_MS * living()
  const longestMs = limitMs / SHARE
  /** By name. In it from its first answer on, since before that nothing can be said of it. */
  let asked = new Map<string, Asked>()
  const lend: Lend = (ask) =>
    withTransaction(pool(), ask, { local: { statement_timeout: `${limitMs}ms` }, signal })

  const rounds = createSeldom({ ask: round, everyMs, share: 1 })

  async function round(): Promise<void> {
    const listed = await lend(listChecks)
    const names = new Set(listed.map(({ name }) => name))
    asked = new Map([...asked].filter(([name]) => names.has(name)))
    for (const check of listed) {
      const one = asked.get(check.name) ?? begun(check)
      one.check = check
      const startedAt = performance.now()
      // It ends sooner by the server's limit, and the wait for a connection has one of its own: it is not given up here.
      await one.verdict.get(2 * LIMIT_MS)
      asked.set(check.name, one)
      const tookMs = performance.now() - startedAt
      // No longer than that: one that takes long must not hold up the others for minutes.
      await pause(Math.min(limitMs, tookMs / SHARE), signal)
      if (signal.aborted) return
    }
  }

  function begun(check: Check): Asked {
    const one: Asked = {
      check,
      verdict: createSeldom({
        ask: async () => (await runCheck(lend, one.check)).ok,
        // The rounds set the pace.
        everyMs: () => 0,
        keepMs: () => ROUNDS_KEPT * everyMs() + longestMs,
        longestMs,
      }),
    }
    return one
  }

  return {
    look() {
      void rounds.get(0)
      return Array.from(asked, ([name, { verdict }]) => ({ name, ok: verdict.known()?.value ?? null }))
    },
    forget() {
      for (const { verdict } of asked.values()) verdict.forget()
    },
  }
}
