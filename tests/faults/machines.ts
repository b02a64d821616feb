import type { Pool } from 'pg'
import type { Scope } from '../support/scope.ts'
import { startInstance } from '../support/instance.ts'
import type { Exit, Instance } from '../support/instance.ts'
import type { Relay } from '../support/relay.ts'
import { until } from '../support/until.ts'
import { configText, NOTES_VARIABLE } from './config.ts'
import type { HandlerLimits } from './config.ts'

/** A process may take this long to leave: its drain and shutdown limits, and a slow machine. */
const EXIT_MS = 90_000

export interface MachineOptions {
  /** Address that instances use, which may lead through a relay or a pooler. */
  readonly databaseUrl: string
  readonly directUrl?: string
  readonly notes: string
  /** `$1` a task: whose `instance_id` leads it. */
  readonly leader: string
  readonly limits?: HandlerLimits
  readonly env?: Readonly<Record<string, string>>
  /** Another build to run. Default: this checkout. */
  readonly bin?: string
  /** Makes a way of its own to the database for each process, in place of `databaseUrl`. */
  readonly ownWay?: () => Promise<Relay>
}

/** What one instance has otherwise than the others. */
export interface Changes {
  readonly release?: string
  readonly limits?: HandlerLimits
  readonly env?: Readonly<Record<string, string>>
}

/** The processes of one run: real `tidemark start`, each on a machine of its own as far as it knows. */
export class Machines {
  readonly #scope: Scope
  readonly #pool: Pool
  readonly #options: MachineOptions
  readonly #living = new Set<Instance>()
  readonly #endedBadly = new Set<Instance>()
  readonly #ways = new Map<Instance, Relay>()
  readonly all: Instance[] = []

  constructor(scope: Scope, pool: Pool, options: MachineOptions) {
    this.#scope = scope
    this.#pool = pool
    this.#options = options
  }

  /** Starts one and waits until it is ready. */
  async start(changes: Changes = {}): Promise<Instance> {
    const one = await this.launch(changes)
    await one.said('ready')
    return one
  }

  /** Starts one; it need not become ready. */
  async launch(changes: Changes = {}): Promise<Instance> {
    const { databaseUrl, directUrl, notes, limits, env, bin } = this.#options
    const way = await this.#options.ownWay?.()
    const one = await startInstance(this.#scope, {
      databaseUrl: way?.url ?? databaseUrl,
      config: configText({ ...limits, ...changes.limits }),
      ...(bin === undefined ? {} : { bin }),
      env: {
        RELEASE: changes.release ?? 'blue',
        [NOTES_VARIABLE]: notes,
        // Some faults keep an instance from leaving; a run must not take a minute longer for each.
        DRAIN_TIMEOUT_SECONDS: '8',
        SHUTDOWN_TIMEOUT_SECONDS: '12',
        ...(directUrl === undefined ? {} : { DIRECT_DATABASE_URL: directUrl }),
        ...env,
        ...changes.env,
      },
    })
    this.all.push(one)
    if (way !== undefined) this.#ways.set(one, way)
    this.#living.add(one)
    void one.exited.then(({ code }) => {
      this.#living.delete(one)
      if (code !== 0) this.#endedBadly.add(one)
    })
    return one
  }

  /** It ended with a code other than 0, or by a signal. */
  endedBadly(one: Instance): boolean {
    return this.#endedBadly.has(one)
  }

  get living(): Instance[] {
    return [...this.#living]
  }

  /** The way to the database that this one alone uses. */
  wayOf(one: Instance): Relay {
    const way = this.#ways.get(one)
    if (way === undefined) throw new Error('this fault gives no instance a way of its own')
    return way
  }

  /** Who leads the task by the database; undefined while nobody that lives does. */
  async leader(task: string): Promise<Instance | undefined> {
    const { rows } = await this.#pool.query<{ instance_id: string }>(this.#options.leader, [task])
    return this.living.find((one) => one.lines.length > 0 && one.id === rows[0]?.instance_id)
  }

  async aLeader(task: string): Promise<Instance> {
    return until(`a leader of ${task}`, () => this.leader(task), 60_000)
  }

  /** SIGTERM, and what it came to. */
  async stop(one: Instance): Promise<Exit> {
    one.kill('SIGTERM')
    return this.left(one)
  }

  async left(one: Instance): Promise<Exit> {
    let exit: Exit | undefined
    void one.exited.then((value) => (exit = value))
    return until('a process to leave', () => exit, EXIT_MS)
  }

  /** kill -9: a machine that is gone. */
  async crash(one: Instance): Promise<number> {
    const at = one.kill('SIGKILL')
    await this.left(one)
    return at
  }

  /** Lines of one event that any process of the run has said. */
  count(event: Parameters<Instance['of']>[0]): number {
    return this.all.reduce((sum, one) => sum + one.of(event).length, 0)
  }
}
