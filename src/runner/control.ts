import type { Poller } from '../ingest/poller.ts'
import type { Jobs } from '../jobs/userJobs.ts'
import type { Processor } from '../process/processor.ts'
import type { Pauses } from './pauses.ts'
import type { WakefulTick } from './wakeful.ts'

/** What an operator can pause. */
export interface Pausable {
  readonly jobs: Pick<Jobs, 'wake'>
  readonly processors: readonly Pick<Processor, 'name' | 'wake'>[]
  readonly pollers: readonly { readonly poller: Pick<Poller, 'name' | 'hold'> }[]
  readonly ticks: ReadonlyMap<string, Pick<WakefulTick, 'demand' | 'rest'>>
}

/** From now on the parts hear at once of pauses; that a task is paused they ask for themselves before they begin anything. */
export function obeyPauses(pauses: Pauses, parts: Pausable): void {
  pauses.tell((task, paused) => {
    parts.jobs.wake()
    for (const processor of parts.processors) if (processor.name === task) processor.wake()
    if (paused) for (const { poller } of parts.pollers) if (poller.name === task) poller.hold()
    // Its writers need not tell anybody.
    if (paused) parts.ticks.get(task)?.rest()
    // What fell due meanwhile is one pass, made at once.
    if (!paused) parts.ticks.get(task)?.demand()
  })
  // A job may have been paused since its worker was started.
  parts.jobs.wake()
}
