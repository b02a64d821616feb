import { hostname } from 'node:os'
import type { Identity } from '../config/identity.ts'
import type { Settings } from '../config/settings.ts'
import type { SessionAddress } from '../db/connection.ts'
import { takeBackJobs } from '../jobs/takeBack.ts'
import { startPresence } from '../leader/presence.ts'
import { sayFailing } from '../leader/sayFailing.ts'
import { keepSentinel } from '../leader/sentinel.ts'
import { reclaimFrom } from '../process/reclaim.ts'
import type { InstanceRecord } from '../tables/instance.ts'
import type { Log } from '../telemetry/log.ts'
import type { Pools } from './foundation.ts'

export interface MembershipOptions {
  readonly settings: Settings
  readonly identity: Identity
  /** For the sentinel; without one the others know of our death by our silence alone. */
  readonly session: SessionAddress | undefined
  readonly pools: Pools
  readonly tasks: readonly string[]
  /** Read at each heartbeat. */
  readonly now: () => Pick<InstanceRecord, 'state' | 'circuits'>
  /** What is paused, asked for at this monotonic moment. */
  readonly onPaused: (paused: ReadonlyMap<string, string | null>, askedAt: number) => void
  /** What an instance had that is gone may be open again, and be done here. */
  readonly onTakenBack: () => void
  readonly log: Log
}

const FAILED = {
  beat: 'the heartbeat could not be written, and the others may take this instance for frozen',
  watch: 'the other instances could not be looked at',
  'take back': 'what an instance that is gone had in work could not be taken back',
}

/** What the other instances see of this one, and what it sees of them. */
export interface Membership {
  /** Writes the present state at once. */
  announce(): Promise<void>
  /** Ends the heartbeat and the watch of the others. */
  stop(): Promise<void>
  /** Gives up the sentinel: from now on the others see that this process is gone. */
  leave(): Promise<void>
}

/** An instance joins the others: a sentinel that falls with its process, a heartbeat, and an eye on theirs. */
export function join(options: MembershipOptions): Membership {
  const { settings, identity, session, pools, tasks, now, log } = options
  const sentinel =
    session === undefined
      ? undefined
      : keepSentinel(
          {
            ...session,
            applicationName: `tidemark:${identity.instanceId}`,
            connectTimeoutMs: settings.connectTimeoutMs,
            limits: { statementTimeoutMs: settings.leaseMs / 2, lockTimeoutMs: 0, idleInTransactionMs: 0 },
          },
          identity.holder,
          // A sentinel that broke is no outage: it comes back, and the pulse tells when the database is away.
          () => undefined,
        )
  const met = new Set<string>()
  const presence = startPresence({
    db: pools.reserved,
    record: () => ({
      ...identity,
      machineId: settings.machineId ?? hostname(),
      region: settings.region,
      release: settings.release,
      processGroup: settings.processGroup,
      ...now(),
      sentinel: sentinel?.held === true,
      tasks,
    }),
    heartbeatMs: settings.heartbeatMs,
    leaseMs: settings.leaseMs,
    onLearned({ paused, sentinelHeld }, askedAt) {
      options.onPaused(paused, askedAt)
      if (!sentinelHeld) sentinel?.doubt(askedAt)
    },
    async onGone(instanceId, how) {
      // Neither must keep the other from its own.
      const [messages, jobs] = await Promise.allSettled([
        reclaimFrom(pools.work, instanceId, how, log),
        takeBackJobs(pools.work, instanceId, how, log),
      ])
      if (messages.status === 'rejected') throw messages.reason
      if (jobs.status === 'rejected') throw jobs.reason
      // A frozen one is looked at again and again; the first look took what it had.
      if (jobs.value > 0 || !met.has(instanceId)) options.onTakenBack()
      met.add(instanceId)
      return messages.value
    },
    onError: (what, error, failures) => sayFailing(log, what, FAILED[what])(error, failures),
  })
  return {
    announce: () => presence.announce(),
    stop: () => presence.stop(),
    async leave() {
      await sentinel?.close()
    },
  }
}
