import type { Clock } from 'pg-boss'
import type { Queryable } from '../db/pool.ts'
import { giveBackUnclaimed, lookAtQueues } from './claimRows.ts'

/*
 * One look for all queues of an instance, instead of one of each worker: which of them has a job that is due?
 *
 * Jobs sent for now are announced by NOTIFY, and passes are looked for at their own time; this look is for everything else:
 * jobs whose time comes, ticks of schedules on their way through pg-boss's own queue, retries, jobs given back, and
 * announcements that were lost. Each of some nine workers would ask every few seconds; one statement asks for all, and only a
 * worker with something to fetch is woken. By themselves the workers look seldom, for the day on which this look fails.
 *
 * The same statement sees attempts that were fetched and never claimed: the answer of the fetch was lost, or its process
 * died with it. A living process claims within a moment. One that stood still in between finds its claim refused. A release
 * from before there were claims runs jobs without: while one of its instances lives, nothing is given back for want of one.
 */

const LOOK_EVERY_MS = 5_000
/** From the fetch to the claim are milliseconds; a database under locks may take a statement's time. */
const UNCLAIMED_MS = 10_000

export interface DueLook {
  stop(): void
}

export function startDueLook(options: {
  readonly db: Queryable
  readonly clock: Clock
  /** What is worked here at this moment. */
  readonly queues: () => string[]
  readonly onDue: (queue: string) => void
}): DueLook {
  const { db, clock, queues, onDue } = options
  let stopped = false
  let timer: unknown

  async function look(): Promise<void> {
    const worked = queues()
    if (worked.length === 0) return
    for (const { queue, due, unclaimed } of await lookAtQueues(db, worked, UNCLAIMED_MS)) {
      const back = unclaimed ? await giveBackUnclaimed(db, queue, UNCLAIMED_MS) : 0
      if (!stopped && (due || back > 0)) onDue(queue)
    }
  }

  function again(): void {
    if (stopped) return
    // What failed says so elsewhere: the workers meet the same, and look by themselves meanwhile.
    timer = clock.setTimeout(() => void look().then(again, again), LOOK_EVERY_MS)
  }
  again()

  return {
    stop() {
      stopped = true
      clock.clearTimeout(timer)
    },
  }
}
