import type { Random } from '../../properties/random.ts'
import type { Relay } from '../../support/relay.ts'
import { until } from '../../support/until.ts'
import { handlersBegin, inWorkAt, keepBusy, pastSince } from '../atWork.ts'
import { LED_TASKS } from '../config.ts'
import type { Fault } from '../fault.ts'
import type { Stage } from '../stage.ts'

const HANDLER_MS = 1_200
/** The lease is 10 s by default. */
const LEASE_MS = 10_000
const LATE_MS = 500
const SLOW_FOR_MS = 15_000
const SLICE_BYTES = 50
/** Thousands of protocol messages, each in several parts. */
const SLICES = 20_000

function wayOf({ relay }: Stage): Relay {
  if (relay === undefined) throw new Error('this fault needs a relay')
  return relay
}

/** The way is gone from `begin` to `end`, for so long; every instance must have noticed, and find it again. */
async function outage(
  stage: Stage,
  ms: number,
  begin: (way: Relay) => Promise<void> | void,
  end: (way: Relay) => Promise<void> | void,
): Promise<void> {
  const way = wayOf(stage)
  const { living } = stage.machines
  await handlersBegin(stage, HANDLER_MS)
  const before = living.map((one) => one.of('database_lost').length)
  if (way.connections === 0) throw new Error('nobody is connected through the relay')
  await begin(way)
  const at = performance.now()
  await until('every instance to have lost the database', () =>
    living.every((one, i) => one.of('database_lost').length > (before[i] ?? 0)),
  )
  await pastSince(at, ms)
  await end(way)
}

function blackHole(seconds: number): Fault {
  return {
    name: `network_black_hole_${seconds}_s`,
    mayLoseAnswers: true,
    title: `All packets between the instances and PostgreSQL vanish for ${seconds} s; connections from before stay dead`,
    way: 'relay',
    ...(seconds * 1000 > LEASE_MS ? { isLong: true } : {}),
    happen: (stage) =>
      outage(
        stage,
        seconds * 1000,
        (way) => way.freeze(),
        (way) => way.thaw(),
      ),
  }
}

/** Somebody leads each task, and not this one. */
async function ledByOthers({ machines }: Stage, not: { readonly id: string }): Promise<boolean> {
  const leaders = await Promise.all(LED_TASKS.map((task) => machines.leader(task)))
  return leaders.every((leader) => leader !== undefined && leader.id !== not.id)
}

async function oneCutOff(stage: Stage, random: Random): Promise<void> {
  const { machines } = stage
  const victim = await machines.aLeader(random.pick(LED_TASKS))
  const way = machines.wayOf(victim)
  await keepBusy(stage, victim, HANDLER_MS)
  way.freeze()
  if ((await inWorkAt(stage, victim)) === 0) throw new Error('who was cut off had nothing in work')
  await until('the others to lead', () => ledByOthers(stage, victim), 60_000)
  await until(
    'the others to take back what it had',
    async () => (await inWorkAt(stage, victim)) === 0,
    60_000,
  )
  const lost = victim.of('database_back').length
  way.thaw()
  await until('it to be back', () => victim.of('database_back').length > lost, 60_000)
}

export const NETWORK: readonly Fault[] = [
  {
    name: 'network_cut',
    mayLoseAnswers: true,
    title:
      'Every connection between the instances and PostgreSQL is ended (FIN); new ones are refused for 3 s',
    way: 'relay',
    happen: (stage) =>
      outage(
        stage,
        3_000,
        (way) => way.cut(),
        (way) => way.open(),
      ),
  },
  {
    name: 'network_reset',
    inShortForm: true,
    mayLoseAnswers: true,
    title:
      'Every connection between the instances and PostgreSQL is reset (RST); new ones are refused for 3 s',
    way: 'relay',
    happen: (stage) =>
      outage(
        stage,
        3_000,
        (way) => way.reset(),
        (way) => way.open(),
      ),
  },
  blackHole(6),
  blackHole(20),
  {
    name: 'network_slow',
    title: `Everything between the instances and PostgreSQL arrives ${LATE_MS} ms later, each way, for ${SLOW_FOR_MS / 1000} s`,
    way: 'relay',
    isLong: true,
    async happen(stage) {
      const way = wayOf(stage)
      await handlersBegin(stage, HANDLER_MS)
      way.slow(LATE_MS)
      const at = performance.now()
      const before = await stage.effects()
      await pastSince(at, SLOW_FOR_MS)
      if ((await stage.effects()) === before) throw new Error('nothing went on meanwhile')
      way.slow(0)
    },
  },
  {
    name: 'network_sliced',
    title: `Everything between the instances and PostgreSQL arrives in pieces of 1 to ${SLICE_BYTES} bytes`,
    way: 'relay',
    async happen(stage, random) {
      const way = wayOf(stage)
      const before = way.pieces
      way.slice(() => random.between(1, SLICE_BYTES))
      await stage.flows(60)
      await until('so many pieces', () => way.pieces - before >= SLICES, 60_000)
      way.slice(undefined)
    },
  },
  {
    name: 'listen_lost_silently',
    title: 'Of each instance the connection that listens is black-holed, and no other',
    way: 'relay',
    isLong: true,
    async happen(stage) {
      const { living } = stage.machines
      const deaf = wayOf(stage).freezeListeners()
      if (deaf < living.length) throw new Error(`only ${deaf} connections listened`)
      // Nothing else is wrong, so the work goes on while they do not know it.
      await stage.flows(100)
      await until(
        'every instance to have noticed and to listen again',
        () => living.every((one) => one.of('listen_back').length > 0),
        60_000,
      )
      if (living.some((one) => one.of('database_lost').length > 0))
        throw new Error('other connections were lost too')
    },
  },
  {
    name: 'one_instance_cut_off',
    mayLoseAnswers: true,
    title:
      'A leader alone is black-holed, with handlers at work, until others lead and have taken back what it had',
    way: 'relays',
    isLong: true,
    mayRunAgain: 'a handler ended while its outcome could not be written, and its claim was judged lost',
    happen: oneCutOff,
  },
]
