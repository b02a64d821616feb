import type { Boss } from './boss.ts'
import { bringForward, selectUnfinished } from './jobRows.ts'

/** The queued job of a poller's queue is due now, and there is one. */
export async function makeDue({ pool, pg }: Boss, queue: string): Promise<void> {
  if (await bringForward(pool, queue)) return
  await pg.send(queue)
}

/** There is a queued job, at its time, past or to come, or, where none is, at `time`. Times in ms; returns the job's. */
export async function keepDue({ pool, pg }: Boss, queue: string, time: number): Promise<number> {
  const { jobs } = await selectUnfinished(pool, queue)
  const queued = jobs.find(({ state }) => state !== 'active')
  if (queued !== undefined) return queued.startAfter.getTime()
  await pg.send(queue, null, { startAfter: new Date(time) })
  return time
}

/** The database's clock, carried on by the monotonic one. Before it was heard: this process's own. */
export class DatabaseClock {
  #heard = { database: Date.now(), monotonic: performance.now() }

  /** In milliseconds since 1970. */
  now(): number {
    return this.#heard.database + (performance.now() - this.#heard.monotonic)
  }

  set(database: Date): void {
    this.#heard = { database: database.getTime(), monotonic: performance.now() }
  }
}
