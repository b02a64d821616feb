/**
 * The text of `/metrics`: what this instance counted, how its parts are at this moment, and what the database knows of the whole
 * system (numbers.ts). It is made at most once a second, however many ask.
 *
 * - *The database is away*: `tidemark_database_up` is 0 and every number that comes from it is absent: an old one would be a
 *   lie. What this instance counted itself is still true.
 * - *It takes long*: nobody waits for it longer than the patience below, which with the probe's own stays under 2 s.
 * - *The schema does not fit yet*: nothing is read, since what is missing then is said elsewhere.
 */
import { OWN_PACKAGE } from '../config/packageFacts.ts'
import type { ResolvedConfig } from '../config/resolved.ts'
import type { Settings } from '../config/settings.ts'
import type { DatabaseProbe } from '../http/probe.ts'
import { createSeldom } from '../kit/seldom.ts'
import type { SystemNumbers } from '../tables/metrics.ts'
import { createLoopLag } from '../telemetry/metrics/loopLag.ts'
import { processGauges } from '../telemetry/metrics/processFacts.ts'
import type { Gauges, Series } from '../telemetry/metrics/tally.ts'
import { metricsText } from '../telemetry/metrics/text.ts'
import type { Condition } from './condition.ts'
import type { Counting } from './counting.ts'
import type { Pools } from './foundation.ts'
import { createNumbers } from './numbers.ts'
import type { Work } from './work.ts'

/** A text is given to everybody for so long. */
const MADE_EVERY_MS = 1_000

/** How long a scrape waits for the database's numbers. */
const PATIENCE_MS = 500

const STATES = ['starting', 'ready', 'draining', 'lost']

export interface ExpositionOptions {
  readonly counting: Counting
  readonly condition: Condition
  readonly probe: DatabaseProbe
  readonly config: ResolvedConfig
  readonly settings: Pick<Settings, 'release'>
  /** Undefined before there is a connection. */
  readonly pools: () => Pools | undefined
  /** Undefined before the parts run. */
  readonly work: () => Work | undefined
}

export interface Exposition {
  /** Never rejects for what the database does. */
  text(): Promise<string>
  stop(): void
}

export function createExposition(options: ExpositionOptions): Exposition {
  const { counting, condition, probe, config, settings, pools, work } = options
  const { tallies, meter } = counting
  const upSince = Date.now() / 1000
  const lag = createLoopLag()
  const ending = new AbortController()
  const led = [...config.pollers, ...config.processors.filter(({ exclusive }) => exclusive)]
  const tasks = [...config.pollers, ...config.processors, ...config.jobs]
  const { numbers, invariants } = createNumbers({
    config,
    signal: ending.signal,
    pool() {
      const opened = pools()
      if (opened === undefined) throw new Error('not connected')
      return opened.work
    },
  })

  async function fromDatabase(): Promise<Gauges> {
    const mayAsk = work() !== undefined && condition.schemaFits && !condition.databaseAway
    const read = mayAsk ? numbers.get(PATIENCE_MS) : Promise.resolve(undefined)
    const verdicts = mayAsk ? invariants.look() : []
    const { ok } = await probe.look()
    const up: Gauges = { tidemark_database_up: one(ok ? 1 : 0) }
    if (!ok) {
      numbers.forget()
      invariants.forget()
      return up
    }
    const system = await read
    return {
      ...up,
      ...(system && systemGauges(system.value, settings.release)),
      ...(system && { tidemark_database_numbers_age_seconds: one(system.ageMs / 1000) }),
      tidemark_verify_ok: verdicts.flatMap(({ name, ok }) => (ok === null ? [] : [row(flag(ok), name)])),
      tidemark_verify_unknown: verdicts.map(({ name, ok }) => row(flag(ok === null), name)),
    }
  }

  function own(): Gauges {
    const at = work()
    const roles = at?.leaders.roles()
    const late = lag.take()
    return {
      tidemark_is_leader: led.map(({ name }) => row(flag(roles?.get(name)?.role === 'leader'), name)),
      tidemark_task_paused: tasks.map(({ name }) => row(flag(at?.pauses.isPaused(name) === true), name)),
      tidemark_poll_interval_seconds: config.pollers.map(({ name, everyMs }) => row(everyMs / 1000, name)),
      tidemark_edge_lag_expected_seconds: (at?.pollers ?? []).map(({ poller, everyMs, slackMs }) =>
        row((2 * everyMs + slackMs) / 1000, poller.name),
      ),
      ...poolGauges(pools()),
      tidemark_pool_pressure: one(flag(at?.pressure.episode === true)),
      tidemark_ready: one(flag(condition.readiness() === 'ready')),
      tidemark_active_requests: one(meter.activeRequests),
      ...(late !== undefined && { tidemark_event_loop_lag_seconds: one(late) }),
      tidemark_up_since_seconds: one(Math.round(upSince * 1000) / 1000),
      tidemark_build_info: [row(1, OWN_PACKAGE.version, settings.release)],
      ...processGauges(),
    }
  }

  const text = createSeldom({
    async ask() {
      const read = await fromDatabase()
      return metricsText(tallies, { ...own(), ...read })
    },
    everyMs: () => MADE_EVERY_MS,
    share: 1,
  })
  return {
    text: () => text.need(),
    stop() {
      ending.abort(new Error('the instance ends'))
      lag.stop()
    },
  }
}

function poolGauges(opened: Pools | undefined): Gauges {
  if (opened === undefined) return {}
  const both = [
    ['work', opened.work],
    ['reserved', opened.reserved],
  ] as const
  return {
    tidemark_pool_connections: both.flatMap(([name, { counts }]) => [
      row(counts.total - counts.idle, name, 'in_use'),
      row(counts.idle, name, 'idle'),
      row(counts.waiting, name, 'waiting'),
    ]),
    tidemark_pool_connections_limit: both.map(([name, { max }]) => row(max, name)),
  }
}

function systemGauges(system: SystemNumbers, release: string): Gauges {
  const { depths, sources, slots, pollers, instances } = system
  return {
    tidemark_queue_depth: depths.map(({ source, status, messages }) => row(messages, source, status)),
    tidemark_oldest_message_age_seconds: sources.map((found) => row(found.oldest_s, found.source)),
    tidemark_messages_overdue: sources.map(({ source, overdue }) => row(overdue, source)),
    tidemark_messages_stuck: sources.map(({ source, stuck }) => row(stuck, source)),
    tidemark_slots_in_use: slots.map((slot) => row(slot.messages, slot.source, slot.group_key)),
    tidemark_watermark_lag_seconds: pollers.flatMap(({ poller, lag_s: lag }) =>
      lag === null ? [] : [row(lag, poller)],
    ),
    tidemark_edge_lag_seconds: pollers.flatMap(({ poller, edge_lag_s: lag }) =>
      lag === null ? [] : [row(lag, poller)],
    ),
    tidemark_instances: [
      // That there is none of a state is a number, too.
      ...STATES.filter(
        (state) => !instances.some((one) => one.state === state && one.release === release),
      ).map((state) => row(0, state, release)),
      ...instances.map(({ state, release: of, instances: count }) => row(count, state, of)),
    ],
  }
}

function row(value: number, ...values: readonly string[]): Series<number> {
  return { values, value }
}

function one(value: number): Series<number>[] {
  return [row(value)]
}

function flag(is: boolean): 0 | 1 {
  return is ? 1 : 0
}
