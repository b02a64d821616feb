/**
 * One poller, whose passes a test asks for: the poller of ingest/poller.ts under a lease of its own, with a tick that comes when it
 * is called. Nobody competes for the lease but other runners of tests on the same database: `poll()` takes the lead from
 * whoever has it, as a stand-by takes over from the dead, and whoever had it is refused from then on.
 */
import type { Identity } from '../config/identity.ts'
import type { ResolvedProcessor } from '../config/resolved.ts'
import type { Pool } from '../db/pool.ts'
import { TestStepImpossible } from '../errors.ts'
import { createPoller } from '../ingest/poller.ts'
import type { Poller } from '../ingest/poller.ts'
import type { DuePass, Tick } from '../ingest/tick.ts'
import type { RegisteredPoller } from '../runner/registration.ts'
import { findPause } from '../tables/control.ts'
import { lookAtLeaders, releaseLease, takeOver } from '../tables/leader.ts'
import type { Leadership } from '../tables/leader.ts'
import type { StepLog, TestEvent } from './stepLog.ts'

/** What one pass came to. */
export interface PollResult {
  /** Rows of the source that it looked at, known ones among them: it reads again whatever is not below the edge. */
  readonly read: number
  /** Rows that were new, and are messages now. */
  readonly inserted: number
  /** Of the new ones, those behind the greatest cursor: committed after a row with a later time. */
  readonly late: number
  /** The time below which everything is proven to be in the inbox, as PostgreSQL writes it; `-infinity` at first. */
  readonly edge: string
  /** The poller is paused: no pass was made. */
  readonly paused: boolean
}

export interface PollStep {
  readonly name: string
  poll(): Promise<PollResult>
  close(): Promise<void>
}

/** DESIGN's slack for clocks and rounding, as a runner has it. */
const SLACK_MS = 5_000
const DEFAULT_ATTEMPTS = 10

/** Longer than any test: nobody but another runner of a test ends it. */
const LEASE_MS = 30 * 86_400_000

const NOTHING = { read: 0, inserted: 0, late: 0, edge: '-infinity', paused: true }

/** A tick that comes when it is called. */
class CalledTick implements Tick {
  #called: DuePass | undefined
  #rouse: () => void = () => undefined

  /** Settles with the pass that is made of it. */
  call(): Promise<{ ok: boolean }> {
    return new Promise((resolve) => {
      this.#called = {
        dueAt: new Date(),
        cause: 'demand',
        done(result) {
          resolve(result)
          return Promise.resolve()
        },
      }
      this.#rouse()
    })
  }

  async next(signal: AbortSignal): Promise<DuePass | undefined> {
    while (this.#called === undefined && !signal.aborted)
      await new Promise<void>((resolve) => {
        this.#rouse = resolve
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    if (signal.aborted) return undefined
    const due = this.#called
    this.#called = undefined
    return due
  }
}

interface Tenure {
  readonly won: Leadership
  readonly lost: AbortController
  /** Settles when the poller has left. */
  readonly ended: Promise<void>
}

export function createPollStep(options: {
  readonly pool: Pool
  readonly identity: Identity
  readonly registered: RegisteredPoller
  readonly processor: ResolvedProcessor | undefined
  readonly log: StepLog
}): PollStep {
  const { pool, identity, registered, log } = options
  const { poller: config, source, latenessMs } = registered
  const { name, everyMs, pageSize } = config
  const tick = new CalledTick()
  let paused = false
  let tenure: Tenure | undefined
  const poller: Poller = createPoller({
    db: pool,
    name,
    source,
    tick,
    held: () => (paused ? 'paused' : undefined),
    slackMs: SLACK_MS + latenessMs,
    everyMs,
    pageSize,
    maxAttempts: options.processor?.maxAttempts ?? DEFAULT_ATTEMPTS,
    instanceId: identity.instanceId,
    log,
    onInserted: () => undefined,
  })

  async function lead(): Promise<Tenure> {
    const [look] = await lookAtLeaders(pool, [name], LEASE_MS)
    if (tenure !== undefined && !tenure.lost.signal.aborted && look?.holder === identity.holder) return tenure
    await leave()
    const [holder, term] = [look?.holder, look?.term]
    const dead = holder == null || term == null ? undefined : { holder, term }
    const won = await takeOver(pool, name, identity, LEASE_MS, dead)
    if (won === undefined)
      throw new TestStepImpossible(`${name}: another runner took the lead at the same moment`)
    const lost = new AbortController()
    const ended = poller.lead({
      holder: identity.holder,
      term: won.term,
      pass: won.pass,
      createdEdge: won.created === true ? won.edge : null,
      signal: lost.signal,
      refused: () => lost.abort(),
    })
    ended.catch(() => undefined) // whoever waits for a pass hears of it
    return { won, lost, ended }
  }

  async function leave(): Promise<void> {
    tenure?.lost.abort()
    await tenure?.ended.catch(() => undefined)
    tenure = undefined
  }

  return {
    name,
    async poll() {
      paused = (await findPause(pool, name)).paused
      const now = await lead()
      tenure = now
      let said: TestEvent | undefined
      await log.during(
        (line) => {
          if (line.fields['poller'] !== name) return
          if (line.event === 'poll_completed' || line.event === 'poll_failed') said = line
          // The wait before the next try is not this step's.
          if (line.event === 'poll_failed') poller.wake()
        },
        () => Promise.race([tick.call(), now.ended]),
      )
      if (paused) return NOTHING
      return resultOf(name, said)
    },
    async close() {
      const left = tenure
      await leave()
      if (left !== undefined) await releaseLease(pool, name, identity, left.won.term).catch(() => false)
    },
  }
}

function resultOf(name: string, said: TestEvent | undefined): PollResult {
  if (said?.event !== 'poll_completed')
    throw new TestStepImpossible(said?.msg ?? `${name}: the pass was refused, since somebody else leads`)
  const { rows_read: read, rows_inserted: inserted, late_rows: late, edge } = said.fields
  return {
    read: Number(read),
    inserted: Number(inserted),
    late: Number(late),
    edge: String(edge),
    paused: false,
  }
}
