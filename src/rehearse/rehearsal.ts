/**
 * A rehearsal: the whole sequence of blue-green deploys on real processes, under load, and a count of what became of every
 * row that was committed meanwhile.
 *
 *     place ──▶ first colour ──▶ writer ──▶ deploys ──▶ writer stops ──▶ all is settled ──▶ drain ──▶ count
 *        └── whatever ends it: machines are killed, connections closed, the server of its own is removed ──┘
 *
 * - *Settled* is a condition, not a time: everything committed is in the inbox and finished. As long as something moves it
 *   is waited for; what no longer moves is counted as it is.
 * - *Failed by themselves*: messages whose handler throws are waited for up to a bound, then said to be open.
 */
import type { ResolvedConfig } from '../config/resolved.ts'
import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import { pause } from '../kit/pause.ts'
import { readInvariants } from '../tables/invariant.ts'
import type { InvariantResult } from '../tables/status.ts'
import { createChance } from './chance.ts'
import { countChanges, countRest, countSource } from './count.ts'
import type { LeaderChanges, Rest, SourceCount } from './count.ts'
import { createDeploys } from './deploys.ts'
import type { DeployCounts } from './deploys.ts'
import type { MachineOptions } from './machine.ts'
import { connectionsShort, makeRecord, setUpTables } from './place.ts'
import type { Place } from './place.ts'
import { planRows } from './rows.ts'
import type { RowWriter } from './rows.ts'
import { requireNoTables, requireScratch } from './scratch.ts'
import { startWriter } from './writer.ts'

export interface RehearsalOptions {
  readonly config: ResolvedConfig
  readonly place: Place
  readonly machine: MachineOptions
  /** The machines make the sources' tables themselves. */
  readonly ownTables: boolean
  readonly setup: readonly string[]
  readonly inserts: readonly string[]
  readonly deploys: number
  readonly instances: number
  /** Messages a second, over all pollers. */
  readonly rate: number
  readonly overlapMs: number
  readonly killLimitMs: number
  readonly kill: boolean
  readonly seed: number
  /** Connections that one machine may hold. */
  readonly connections: number
  readonly stop: AbortSignal
  /** Told of every step, and how far all is, from 0 to 1. */
  readonly progress: (done: number, step: string) => void
  /** Told of what nobody wanted, to be kept. */
  readonly note: (text: string) => void
}

export interface Rehearsal {
  readonly ok: boolean
  readonly seed: number
  readonly seconds: number
  readonly written: number
  readonly rolled_back: number
  readonly committed_late: number
  readonly writes_failed: number
  readonly lost: number
  readonly doubled: number
  /** Pollers that took in no row: nothing is known of them. */
  readonly not_tested: readonly string[]
  readonly longest_silence_ms: number
  readonly machines: Readonly<DeployCounts>
  readonly sources: readonly SourceCount[]
  readonly leader_changes: readonly LeaderChanges[]
  /** Those that did not hold. */
  readonly invariants_broken: readonly InvariantResult[]
}

const sql = loadStatements('rehearsal_clock', ['now'])

/** Longest time in which no row is taken in: a lease that runs out; besides it two intervals of the slowest poller. */
const TAKE_IN_MS = 15_000
/** Longest time in which no message is finished, besides that and what a handler may take: those of the dead come back. */
const WORK_MS = 15_000
/** For messages that failed by themselves: a few tries, not all that they have. */
const RETRIES_MS = 60_000
const LOOK_MS = 250
const SAY_MS = 2_000

export async function rehearse(options: RehearsalOptions): Promise<Rehearsal> {
  const { config, place, deploys } = options
  const chance = createChance(options.seed)
  let at = 0
  /** The first colour, each deploy, and the end are a step each. */
  const say = (step: string): void => options.progress(at / (deploys + 2), step)
  const machines = createDeploys({ ...options, db: place.pool, chance, say })
  try {
    await prepare(options)
    const plan = (): Promise<RowWriter[]> =>
      withLook(place, (client) => planRows(client, config.pollers, options.inserts))
    let rows = options.ownTables ? undefined : await plan()
    say(`starting ${options.instances} of blue`)
    await machines.begin()
    rows ??= await plan()
    const from = await now(place.pool)
    const since = performance.now()
    const writer = startWriter(place.writers, rows, options.rate, createChance(options.seed + 1))
    try {
      for (at = 1; at <= deploys; at += 1) {
        say(`deploy ${at} of ${deploys}: ${writer.written} rows so far`)
        await Promise.race([machines.deploy(), writer.broken])
      }
    } finally {
      await writer.stop()
    }
    const seconds = (performance.now() - since) / 1000
    await settled(options, say)
    const to = await now(place.pool)
    const invariants = await readInvariants((ask) => ask(place.pool))
    say('stopping the last colour')
    await machines.drain()
    say('counting')
    const sources: SourceCount[] = []
    for (const poller of config.pollers) sources.push(await countSource(place.pool, config, poller, from, to))
    const sum = (of: (source: SourceCount) => number): number =>
      sources.reduce((all, one) => all + of(one), 0)
    const broken = invariants.filter(({ ok }) => ok === false)
    const notTested = sources.filter((source) => source.taken_in === 0).map(({ poller }) => poller)
    const lost = sum((source) => source.lost.count)
    const doubled = sum((source) => source.doubled.count)
    return {
      ok: lost === 0 && doubled === 0 && broken.length === 0 && notTested.length === 0,
      seed: options.seed,
      seconds: Math.round(seconds * 10) / 10,
      written: sum((source) => source.written),
      rolled_back: writer.rolledBack,
      committed_late: writer.late,
      writes_failed: writer.failed,
      lost,
      doubled,
      not_tested: notTested,
      longest_silence_ms: Math.max(0, ...sources.map((source) => source.longest_silence_ms)),
      machines: { ...machines.counts },
      sources,
      leader_changes: await countChanges(place.pool, from),
      invariants_broken: broken,
    }
  } finally {
    await machines.kill()
  }
}

async function prepare(options: RehearsalOptions): Promise<void> {
  const { place, config, instances, connections } = options
  const short = await connectionsShort(place.pool, 2 * instances * connections)
  if (short !== undefined) options.note(short)
  if (options.ownTables) await requireNoTables(place.pool)
  await requireScratch(place.pool, config.pollers)
  await setUpTables(place.pool, options.setup)
  await makeRecord(place.pool)
}

/** Lends a connection for statements that belong together. */
async function withLook<T>(place: Place, fn: (client: Queryable) => Promise<T>): Promise<T> {
  const client = await place.pool.connect()
  try {
    return await fn(client)
  } finally {
    client.release(true)
  }
}

async function now(db: Queryable): Promise<string> {
  const { rows } = await db.query<{ now: string }>(sql.now)
  return rows[0]?.now ?? ''
}

/** Waits until everything committed is finished, or nothing moves any more. */
async function settled(options: RehearsalOptions, say: (step: string) => void): Promise<void> {
  const { config, place, stop } = options
  const idleMs = TAKE_IN_MS + 2 * Math.max(0, ...config.pollers.map(({ everyMs }) => everyMs))
  const busyMs = idleMs + WORK_MS + Math.max(0, ...config.processors.map(({ timeoutMs }) => timeoutMs))
  let last: Rest | undefined
  let movedAt = performance.now()
  let saidAt = movedAt
  let retryingSince: number | undefined
  for (;;) {
    const rest = await countRest(place.pool, config)
    if (rest.missing === 0 && rest.open === 0) {
      if (rest.retrying === 0) return
      retryingSince ??= performance.now()
      if (performance.now() - retryingSince > RETRIES_MS) return
    }
    if (performance.now() - saidAt > SAY_MS) {
      say(`waiting for ${rest.missing + rest.open} messages, ${rest.retrying} more to be tried again`)
      saidAt = performance.now()
    }
    if (last === undefined || JSON.stringify(last) !== JSON.stringify(rest)) {
      movedAt = performance.now()
    } else if (performance.now() - movedAt > (rest.open > 0 ? busyMs : idleMs)) return
    last = rest
    await pause(LOOK_MS, stop)
    stop.throwIfAborted()
  }
}
