/**
 * Deploys in the order of Fly.io's blue-green: start green → wait until all its checks pass → both run for the overlap →
 * stop signal to blue → wait for it → kill what outlasts the limit. A green whose checks do not pass is killed without a
 * signal, and blue goes on.
 *
 * With kills each deploy meets one, chosen by the seed: the process that leads a task in mid-overlap, or a green before
 * its checks pass, after which the deploy is tried again. What was killed in a colour that serves, or ended unasked, is
 * started again as Fly.io does with its machines.
 */
import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import { RehearsalImpossible } from '../errors.ts'
import { pause } from '../kit/pause.ts'
import { within } from '../kit/within.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Chance } from './chance.ts'
import { allReady, startMachine } from './machine.ts'
import type { Colour, Machine, MachineOptions } from './machine.ts'

const sql = loadStatements('rehearsal_fleet', ['cut_off', 'leaders'])

export interface DeployOptions {
  readonly db: Queryable
  readonly machine: MachineOptions
  /** Machines of each colour. */
  readonly instances: number
  readonly overlapMs: number
  /** Time that blue has between the stop signal and the kill. */
  readonly killLimitMs: number
  readonly kill: boolean
  readonly chance: Chance
  readonly stop: AbortSignal
  /** Told of every step, in a few words. */
  readonly say: (step: string) => void
  /** Told of what nobody wanted, to be kept. */
  readonly note: (text: string) => void
}

const FAULTS = ['leader', 'green'] as const
type Fault = (typeof FAULTS)[number]

/** What happened to the machines. */
export interface DeployCounts {
  deploys: number
  aborted: number
  killed_leaders: number
  killed_greens: number
  /** Blues that outlasted the kill limit. */
  killed_at_limit: number
  /** Ended without being told to. */
  crashed: number
  longest_drain_ms: number
  stale_writes_refused: number
}

export interface Deploys {
  readonly counts: Readonly<DeployCounts>
  /** Starts the first colour and waits until its checks pass. */
  begin(): Promise<void>
  deploy(): Promise<void>
  /** Stops what serves, as a deploy would. */
  drain(): Promise<void>
  /** Kills whatever runs. */
  kill(): Promise<void>
}

/** The machines of one release. */
interface Release {
  readonly colour: Colour
  readonly name: string
  readonly machines: Set<Machine>
  /** Its checks have passed: from now on what ends is started again. */
  serves: boolean
}

/** For machines to start on a busy host, migrations included. */
const READY_LIMIT_MS = 180_000
/** A green that is killed before its checks pass has had so much time at most. */
const EARLY_MS = 1_000

export function createDeploys(options: DeployOptions): Deploys {
  const { db, chance, stop, say, note } = options
  const counts: DeployCounts = {
    deploys: 0,
    aborted: 0,
    killed_leaders: 0,
    killed_greens: 0,
    killed_at_limit: 0,
    crashed: 0,
    longest_drain_ms: 0,
    stale_writes_refused: 0,
  }
  /** Every process that runs, and how its end is recorded. */
  const running = new Map<Machine, Promise<void>>()
  const faults: Fault[] = []
  let blue: Release = { colour: 'green', name: 'none', machines: new Set(), serves: false }
  let generation = 0
  let over = false

  function start(name: string, release: Release): void {
    if (over) return
    const machine = startMachine(name, release.name, options.machine)
    release.machines.add(machine)
    const recorded = ended(machine, release).catch((error: unknown) =>
      note(`what ${name} had in work could not be noted: ${cleanError(error).text}`),
    )
    running.set(machine, recorded)
  }

  async function ended(machine: Machine, release: Release): Promise<void> {
    const code = await machine.exited
    running.delete(machine)
    counts.stale_writes_refused += machine.counted.stale_write_refused
    if (over) return
    // What it had in work may run again. Noted now: nobody takes it back before it has been silent for seconds.
    if (machine.instanceId !== undefined) await db.query(sql.cut_off, [machine.instanceId])
    if (!release.serves) return
    if (!machine.told) {
      counts.crashed += 1
      note(`${machine.name} ended by itself (${code ?? 'a signal'}): ${lastWords(machine)}`)
    }
    release.machines.delete(machine)
    if (!stop.aborted) start(machine.name, release)
  }

  function startAll(): Release {
    const colour = blue.colour === 'blue' ? 'green' : 'blue'
    const release: Release = { colour, name: `${colour}${generation}`, machines: new Set(), serves: false }
    for (let n = 1; n <= options.instances; n += 1) start(`${release.name}-${n}`, release)
    generation += 1
    return release
  }

  async function kill(machine: Machine): Promise<void> {
    const recorded = running.get(machine)
    machine.signal('SIGKILL')
    await recorded
  }

  /** A deploy whose checks did not pass: no signal, and blue goes on. */
  async function abort({ machines }: Release): Promise<void> {
    counts.aborted += 1
    await Promise.all([...machines].map(kill))
  }

  async function started(): Promise<Release> {
    const release = startAll()
    const machines = [...release.machines]
    const passed = await allReady(machines, READY_LIMIT_MS, stop)
    const failed = machines.find(({ failure }) => failure !== undefined)
    if (passed && failed === undefined) {
      release.serves = true
      return release
    }
    const why = failed ?? machines.find(({ running: runs }) => !runs) ?? machines[0]
    await abort(release)
    throw new RehearsalImpossible(
      failed?.failure ??
        `the checks of ${release.name} did not pass: ${why === undefined ? '' : lastWords(why)}`,
      'mend that first; `tidemark start` with this config and database meets the same',
    )
  }

  /** By chance, yet each kind once before one comes again: two deploys have met both. */
  function drawFault(): Fault | undefined {
    if (!options.kill) return undefined
    if (faults.length === 0) faults.push(...FAULTS)
    return faults.splice(chance.below(faults.length), 1)[0]
  }

  async function killedBeforeReady(): Promise<void> {
    const doomed = startAll()
    await wait(chance.fraction() * EARLY_MS)
    const victim = chance.pick([...doomed.machines])
    say(`kill -9 of ${victim?.name ?? 'nobody'} before its checks pass: this deploy is aborted`)
    counts.killed_greens += 1
    await abort(doomed)
  }

  async function killLeader(): Promise<void> {
    const { rows } = await db.query<{ task_name: string; instance_id: string }>(sql.leaders)
    const leaders = rows.flatMap(({ task_name: task, instance_id: id }) =>
      [...running.keys()].filter(({ instanceId }) => instanceId === id).map((machine) => ({ machine, task })),
    )
    const victim = chance.pick(leaders)
    if (victim === undefined) return
    say(`kill -9 of ${victim.machine.name}, which leads ${victim.task}`)
    counts.killed_leaders += 1
    await kill(victim.machine)
  }

  async function wait(ms: number): Promise<void> {
    await pause(ms, stop)
    stop.throwIfAborted()
  }

  async function stopAll(release: Release): Promise<void> {
    release.serves = false
    const since = performance.now()
    await Promise.all(
      [...release.machines].map(async (machine) => {
        const recorded = running.get(machine)
        machine.signal('SIGTERM')
        if (!(await within(options.killLimitMs, machine.exited))) {
          note(`${machine.name} did not end within ${options.killLimitMs / 1000} s and is killed`)
          counts.killed_at_limit += 1
          machine.signal('SIGKILL')
        }
        await recorded
        counts.longest_drain_ms = Math.max(counts.longest_drain_ms, Math.round(performance.now() - since))
      }),
    )
  }

  return {
    counts,
    async begin() {
      blue = await started()
    },
    async deploy() {
      const fault = drawFault()
      if (fault === 'green') await killedBeforeReady()
      const green = await started()
      say(`${green.name} is ready: both run for ${options.overlapMs / 1000} s`)
      const before = fault === 'leader' ? options.overlapMs * chance.fraction() : 0
      await wait(before)
      if (fault === 'leader') await killLeader()
      await wait(options.overlapMs - before)
      say(`stop signal to ${blue.name}`)
      await stopAll(blue)
      blue = green
      counts.deploys += 1
    },
    drain: () => stopAll(blue),
    async kill() {
      over = true
      const recorded = [...running.values()]
      for (const machine of running.keys()) machine.signal('SIGKILL')
      await Promise.all(recorded)
    },
  }
}

function lastWords({ lastLines }: Machine): string {
  return lastLines.length === 0 ? 'it said nothing' : `it said last:\n  ${lastLines.join('\n  ')}\n`
}
