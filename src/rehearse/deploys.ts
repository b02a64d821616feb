/**
 * Deploys in the order of Fly.io's blue-green: start green → wait until all its checks pass → both run for the overlap →
 * stop signal to blue → wait for it → kill what outlasts the limit. A green whose checks do not pass is killed without a
 * signal, and blue goes on.
 *
 * With kills each deploy meets one, chosen by the seed: the process that leads a task in mid-overlap, which Fly.io starts
 * again as it does any machine that ended; or a green before its checks pass, after which the deploy is tried again.
 * Whoever ends unasked is started again too, and said.
 */
import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import { RehearsalImpossible } from '../errors.ts'
import { pause } from '../kit/pause.ts'
import { within } from '../kit/within.ts'
import type { Chance } from './chance.ts'
import { allReady, startMachine } from './machine.ts'
import type { Colour, Machine, MachineOptions } from './machine.ts'

const sql = loadStatements('rehearsal_fleet', ['cut_off', 'leaders'])

export interface DeployOptions {
  readonly db: Queryable
  readonly machine: MachineOptions
  readonly instances: number
  readonly overlapMs: number
  /** Time that blue has between the stop signal and the kill. */
  readonly killLimitMs: number
  readonly kill: boolean
  readonly chance: Chance
  readonly stop: AbortSignal
  /** Told of every step, in a few words. */
  readonly say: (step: string) => void
}

/** What happened to the machines. */
export interface DeployCounts {
  deploys: number
  aborted: number
  killedLeaders: number
  killedGreens: number
  /** Blues that outlasted the kill limit. */
  killedAtLimit: number
  /** Ended without being told to. */
  crashed: number
  longestDrainMs: number
  staleWritesRefused: number
}

export interface Fleet {
  readonly counts: Readonly<DeployCounts>
  /** Starts the first colour and waits until its checks pass. */
  begin(): Promise<void>
  /** One deploy. */
  deploy(): Promise<void>
  /** Stops every machine as a deploy would. */
  drain(): Promise<void>
  /** Kills whatever runs. */
  kill(): Promise<void>
}

/** For a machine to start on a busy host, migrations included. */
const READY_LIMIT_MS = 180_000

export function createFleet(options: DeployOptions): Fleet {
  const { db, chance, stop, say } = options
  const all = new Set<Machine>()
  let blue: Machine[] = []
  let generation = 0
  const counts: DeployCounts = {
    deploys: 0,
    aborted: 0,
    killedLeaders: 0,
    killedGreens: 0,
    killedAtLimit: 0,
    crashed: 0,
    longestDrainMs: 0,
    staleWritesRefused: 0,
  }

  function start(name: string, colour: Colour, fleet: Machine[]): Machine {
    const machine = startMachine(name, colour, name.replace(/-\d+$/, ''), options.machine)
    all.add(machine)
    fleet.push(machine)
    void machine.exited.then(async () => {
      all.delete(machine)
      counts.staleWritesRefused += machine.counted.stale_write_refused
    })
    return machine
  }

  function startAll(colour: Colour): Machine[] {
    const fleet: Machine[] = []
    for (let n = 1; n <= options.instances; n += 1) start(`${colour}${generation}-${n}`, colour, fleet)
    return fleet
  }

  /** Kills without a signal; what it had in work may run again, and is noted before anybody takes it back. */
  async function killed(machine: Machine): Promise<void> {
    machine.signal('SIGKILL')
    await machine.exited
    await cutOff(machine)
  }

  async function cutOff({ instanceId }: Machine): Promise<void> {
    if (instanceId !== undefined) await db.query(sql.cut_off, [instanceId])
  }

  function restart(machine: Machine, fleet: Machine[]): Machine {
    fleet.splice(fleet.indexOf(machine), 1)
    return start(machine.name, machine.colour, fleet)
  }

  /** Starts again what ended unasked. */
  async function watch(fleet: Machine[]): Promise<void> {
    for (const machine of fleet.filter(({ running, told }) => !running && !told)) {
      counts.crashed += 1
      say(
        `${machine.name} ended by itself, and is started again: ${machine.lastLines.at(-1) ?? 'it said nothing'}`,
      )
      await cutOff(machine)
      restart(machine, fleet)
    }
  }

  async function waitFor(ms: number, ...fleets: Machine[][]): Promise<void> {
    const until = performance.now() + ms
    for (;;) {
      for (const fleet of fleets) await watch(fleet)
      const left = until - performance.now()
      if (left <= 0) return
      await pause(Math.min(left, 500), stop)
      stop.throwIfAborted()
    }
  }

  async function leader(
    fleets: readonly Machine[][],
  ): Promise<{ machine: Machine; task: string } | undefined> {
    const { rows } = await db.query<{ task_name: string; instance_id: string }>(sql.leaders)
    const led = rows.flatMap(({ task_name: task, instance_id: id }) => {
      const machine = fleets.flat().find(({ instanceId, running }) => running && instanceId === id)
      return machine === undefined ? [] : [{ machine, task }]
    })
    return chance.pick(led)
  }

  async function overlap(green: Machine[], killLeader: boolean): Promise<void> {
    const before = killLeader ? options.overlapMs * chance.fraction() : 0
    await waitFor(before, blue, green)
    const victim = killLeader ? await leader([blue, green]) : undefined
    if (victim !== undefined) {
      const { machine, task } = victim
      say(`kill -9 of ${machine.name}, which leads ${task}`)
      counts.killedLeaders += 1
      await killed(machine)
      restart(machine, blue.includes(machine) ? blue : green)
    }
    await waitFor(options.overlapMs - before, blue, green)
  }

  async function stopAll(fleet: readonly Machine[]): Promise<void> {
    const since = performance.now()
    await Promise.all(
      fleet.map(async (machine) => {
        machine.signal('SIGTERM')
        if (await within(options.killLimitMs, machine.exited)) {
          counts.longestDrainMs = Math.max(counts.longestDrainMs, performance.now() - since)
          return
        }
        say(`${machine.name} did not end within ${options.killLimitMs / 1000} s and is killed`)
        counts.killedAtLimit += 1
        await killed(machine)
      }),
    )
  }

  async function abort(green: readonly Machine[]): Promise<void> {
    counts.aborted += 1
    await Promise.all(green.map(killed))
  }

  async function started(colour: Colour): Promise<Machine[]> {
    const fleet = startAll(colour)
    const limit = READY_LIMIT_MS
    if (await allReady(fleet, limit, stop)) return fleet
    const silent = fleet.find(({ running }) => !running) ?? fleet[0]
    const last = silent?.lastLines.join('\n  ') ?? ''
    await abort(fleet)
    throw new RehearsalImpossible(
      `the checks of ${silent?.name ?? colour} did not pass; it said last:\n  ${last}\n`,
      'mend that first: `tidemark start` with this config and database would do the same',
    )
  }

  return {
    counts,
    async begin() {
      blue = await started('blue')
    },
    async deploy() {
      generation += 1
      const colour = blue[0]?.colour === 'blue' ? 'green' : 'blue'
      const fault = options.kill ? chance.pick(['leader', 'green'] as const) : undefined
      if (fault === 'green') {
        const doomed = startAll(colour)
        const victim = chance.pick(doomed)
        await waitFor(chance.fraction() * 1_000, blue)
        if (victim !== undefined) {
          say(`kill -9 of ${victim.name} before its checks pass: this deploy is aborted`)
          counts.killedGreens += 1
        }
        await abort(doomed)
        generation += 1
      }
      const green = await started(colour)
      say(`${colour}${generation} is ready: both run for ${options.overlapMs / 1000} s`)
      await overlap(green, fault === 'leader')
      say(`stop signal to ${blue[0]?.name.replace(/-\d+$/, '') ?? 'nobody'}`)
      await stopAll(blue)
      blue = green
      counts.deploys += 1
    },
    drain: () => stopAll(blue),
    async kill() {
      const running = [...all]
      for (const machine of running) machine.signal('SIGKILL')
      await Promise.all(running.map(({ exited }) => exited))
    },
  }
}
