import { setTimeout as pause } from 'node:timers/promises'
import { until } from '../../../tests/support/until.ts'
import type { BenchServer } from '../server.ts'
import { benchSql } from '../statements.ts'
import type { Child } from './child.ts'
import type { Contestant } from './contestant.ts'
import { LIMIT } from './load.ts'
import { visitsOf } from './visits.ts'

/*
 * One contestant under the load. Three parts, one after the other:
 *
 *   - *kills*: bursts at an even pace; in each round of `everyMs` the process with most in its handlers is killed and replaced;
 *   - *calm*: one burst with nobody killed, for the speed;
 *   - *last*: bursts of longer work, until every tenant has had as many at once as it may have. A tenant that never does has
 *     lost a slot.
 *
 * Handlers count themselves (visits.ts). A killed process's handlers end when it is gone and its last statement is over: until
 * then they count, and afterwards they must not, or the dead would hold up what is promised of the living.
 */

export interface Load {
  readonly tenants: number
  readonly messages: number
  readonly processes: number
  readonly kills: number
  readonly everyMs: number
  /** For all to be done, after the last burst of a part. */
  readonly limitMs: number
}

export interface Figures {
  readonly contestant: string
  readonly version: string
  readonly settings: string
  readonly promise: string
  /** Handlers of one tenant at once, the greatest number. */
  readonly most: number
  /** Handler runs that began, and of these beyond the limit; tenants concerned, and for how long, all tenants together. */
  readonly starts: number
  readonly startsAbove: number
  readonly tenantsAbove: number
  readonly secondsAbove: number
  readonly messages: number
  readonly done: number
  readonly lost: number
  /** In a handler when its process was killed. */
  readonly cut: number
  /** Messages that ran more than once, and of these more often than killed processes had them. */
  readonly again: number
  readonly againUnkilled: number
  /** What is still in use when all is done. */
  readonly held: number
  /** Tenants that had all their slots in use at once in the last bursts. */
  readonly tenantsFull: number
  /** Of the part with kills: from its first burst until all was done. */
  readonly seconds: number
  /** Messages a second of the calm burst. */
  readonly perSecond: number
}

/** Twice a round. */
const BURSTS_A_ROUND = 2
/** After each burst, besides what the insert does by itself. */
const NOTIFICATIONS = 20
const WORK_MS = 10
const CALM_SHARE = 4
/** Long enough that the second of a tenant begins before the first ends, whoever takes it. */
const LAST_WORK_MS = 100
const LAST_A_TENANT = 6
const LAST_TRIES = 5
/** Somebody has to be at work before somebody at work can be killed. */
const VICTIM_LIMIT_MS = 30_000
const GONE_LIMIT_MS = 30_000

interface AtOnce extends Record<string, unknown> {
  readonly most: number
  readonly starts: number
  readonly startsAbove: number
  readonly tenantsAbove: number
  readonly secondsAbove: number
  readonly tenantsFull: number
}

interface Runs extends Record<string, unknown> {
  readonly ended: number
  readonly again: number
  readonly againUnkilled: number
  readonly cut: number
}

export async function tryOut(
  server: BenchServer,
  contestant: Contestant,
  load: Load,
  say: (what: string) => void,
): Promise<Figures> {
  const side = contestant.name
  const running = await contestant.prepare(server)
  const children: Child[] = []
  const killed: string[] = []
  let written = 0
  let started = 0
  const start = async (): Promise<void> => {
    started += 1
    children.push(await running.start(`${side} ${started}`))
  }
  const write = async (messages: number, workMs: number): Promise<void> => {
    const burst = { first: written, last: written + messages - 1, tenants: load.tenants, workMs }
    await running.write(burst)
    written += messages
    for (let i = 0; i < NOTIFICATIONS; i += 1) await running.notify()
  }
  /** Whatever is open at the limit is told as lost. */
  const settled = async (): Promise<void> => {
    const begun = performance.now()
    while ((await running.count()).done < written && performance.now() - begun < load.limitMs) await pause(20)
  }
  const kill = async (): Promise<void> => {
    const busiest = async (): Promise<string | undefined> =>
      (await server.query<{ process: string }>(benchSql('busiest'), [side]))[0]?.process
    const name = await until(`a handler of ${side} to be at work`, busiest, VICTIM_LIMIT_MS)
    const [victim] = children.splice(
      children.findIndex((child) => child.name === name),
      1,
    )
    if (victim === undefined) throw new Error(`${name} is at work and was not started by the bench`)
    killed.push(name)
    await victim.kill()
    await until(`the connections of ${name} to be gone`, () => disconnected(server, name), GONE_LIMIT_MS)
    await server.query(benchSql('cut'), [side, name])
  }

  try {
    say(`${side}: ${load.processes} processes start`)
    await Promise.all(Array.from({ length: load.processes }, () => undefined).map(start))
    await running.ready()

    const begun = performance.now()
    const rounds = Math.max(load.kills, 1)
    for (let round = 0; round < rounds; round += 1) {
      say(`${side}: round ${round + 1} of ${rounds}`)
      for (let burst = 0; burst < BURSTS_A_ROUND; burst += 1) {
        const at = performance.now()
        const number = round * BURSTS_A_ROUND + burst
        await write(share(load.messages, number, rounds * BURSTS_A_ROUND), WORK_MS)
        if (burst === 0 && round < load.kills) {
          await kill()
          await start()
        }
        // The pace of the load, not a wait for anything.
        await pause(Math.max(0, load.everyMs / BURSTS_A_ROUND - (performance.now() - at)))
      }
    }
    await settled()
    const seconds = (performance.now() - begun) / 1000

    say(`${side}: a burst with nobody killed`)
    const calm = Math.ceil(load.messages / CALM_SHARE)
    const calmFrom = performance.now()
    await write(calm, WORK_MS)
    await settled()
    const perSecond = calm / ((performance.now() - calmFrom) / 1000)

    say(`${side}: are all slots there`)
    const from = written
    let tenantsFull = 0
    for (let i = 0; i < LAST_TRIES && tenantsFull < load.tenants; i += 1) {
      await write(load.tenants * LAST_A_TENANT, LAST_WORK_MS)
      await settled()
      tenantsFull = (await countAtOnce(server, side, from)).tenantsFull
    }

    const left = children.find((child) => child.hasLeft)
    if (left !== undefined) throw new Error(`${left.name} ended by itself`)
    const { done, held } = await running.count()
    const [runs] = await server.query<Runs>(benchSql('runs'), [side, killed])
    const atOnce = await countAtOnce(server, side, 0)
    if (runs === undefined) throw new Error('the runs could not be counted')
    const { version, settings, promise } = contestant
    return {
      contestant: side,
      version,
      settings,
      promise,
      ...atOnce,
      tenantsFull,
      messages: written,
      done,
      lost: written - Math.min(done, runs.ended),
      cut: runs.cut,
      again: runs.again,
      againUnkilled: runs.againUnkilled,
      held,
      seconds,
      perSecond,
    }
  } finally {
    await Promise.all(children.map((child) => child.end()))
    await running.close()
  }
}

async function countAtOnce(server: BenchServer, side: string, from: number): Promise<AtOnce> {
  const [counted] = await server.query<AtOnce>(benchSql('at_once'), [side, LIMIT, from])
  if (counted === undefined) throw new Error('the visits could not be counted')
  return counted
}

async function disconnected(server: BenchServer, name: string): Promise<boolean> {
  const [found] = await server.query<{ n: number }>(benchSql('connected'), [visitsOf(name)])
  return found?.n === 0
}

/** The part of `whole` that the burst `index` of `count` has; together they have all. */
function share(whole: number, index: number, count: number): number {
  return Math.floor((whole * (index + 1)) / count) - Math.floor((whole * index) / count)
}
