import type { Check, Checks } from '../http/statusPort.ts'
import type { Poller } from '../ingest/poller.ts'
import type { Boss } from '../jobs/boss.ts'
import type { Leaders } from '../leader/leadership.ts'
import type { Processor } from '../process/processor.ts'

/** What the parts know of themselves; those that have not started yet are undefined. */
export interface Parts {
  readonly boss: Boss | undefined
  readonly leaders: Leaders | undefined
  readonly pollers: readonly { readonly poller: Poller; readonly everyMs: number }[]
  readonly processors: readonly Processor[]
  /** Tasks of the config that could not be started. */
  readonly failedTasks: readonly string[]
  /** Processors whose target is not reached, or asked for time. Not the targets: anybody may read `/health`. */
  readonly waiting: readonly string[]
}

/** A leader without a completed pass for this many intervals, and this much on top, has stalled. */
const STALLED_INTERVALS = 3
const STALLED_MARGIN_MS = 30_000

/** A claim loop looks every two seconds; one that has not come round for this long has stalled. */
const CLAIM_STALLED_MS = 60_000

/** `/health` by progress, not by mere existence. */
export function checkParts(parts: Parts, now = performance.now()): Checks {
  return {
    queue: queue(parts),
    leaders: leaders(parts),
    pollers: pollers(parts, now),
    processors: processors(parts, now),
  }
}

function queue({ boss }: Parts): Check {
  if (boss === undefined) return { status: 'ok', detail: 'not started' }
  return { ...boss.health() }
}

function leaders({ leaders }: Parts): Check {
  const roles = [...(leaders?.roles() ?? [])]
  const leaderless = roles.filter(
    ([, role]) => role.role === 'unknown' || (role.role === 'standby' && role.leader === null),
  )
  return {
    status: leaderless.length > 0 ? 'degraded' : 'ok',
    leads: roles.filter(([, role]) => role.role === 'leader').map(([task]) => task),
    without_leader: leaderless.map(([task]) => task),
  }
}

function pollers({ pollers, leaders, failedTasks }: Parts, now: number): Check {
  const leading = pollers.filter(({ poller }) => leaders?.roles().get(poller.name)?.role === 'leader')
  const stalled = leading.filter(
    ({ poller, everyMs }) =>
      poller.state.lastPassAt !== undefined &&
      now - poller.state.lastPassAt > everyMs * STALLED_INTERVALS + STALLED_MARGIN_MS,
  )
  const failing = leading.filter(({ poller }) => poller.state.failuresInARow > 0)
  const status =
    stalled.length > 0 ? 'failed' : failing.length > 0 || failedTasks.length > 0 ? 'degraded' : 'ok'
  const names = (some: typeof leading): string[] => some.map(({ poller }) => poller.name)
  return { status, stalled: names(stalled), failing: names(failing), failed_to_start: failedTasks }
}

function processors({ processors, waiting }: Parts, now: number): Check {
  const stalled = processors.filter(
    ({ state }) =>
      state.claiming &&
      state.lastClaimAt !== undefined &&
      now - state.lastClaimAt > CLAIM_STALLED_MS &&
      state.inWork === 0,
  )
  const pressed = processors.some(({ state }) => state.pressed)
  return {
    status: stalled.length > 0 ? 'failed' : pressed || waiting.length > 0 ? 'degraded' : 'ok',
    stalled: stalled.map(({ name }) => name),
    pool_pressure: pressed,
    circuits_open: waiting,
    in_work: Object.fromEntries(processors.map(({ name, state }) => [name, state.inWork])),
  }
}
