import { everyRhythm, type Rhythm } from './rhythm.ts'
import type { Tick } from './ticks.ts'
import { Lead, type LeadOptions } from './tickLead.ts'

export type JobTickOptions = Omit<LeadOptions, 'queue' | 'rhythm'> & { readonly poller: string } & (
    { readonly everyMs: number } | { readonly rhythm: Rhythm }
  )

/** A tick that works the poller's queue while it leads. `close()` ends the lead, if any, and waits for that. */
export type JobTick = Tick & { close(): Promise<void> }

/** The queue of a poller's due passes. */
export function pollQueue(poller: string): string {
  return `poll.${poller}`
}

export function createJobTick(options: JobTickOptions): JobTick {
  const queue = pollQueue(options.poller)
  const rhythm = 'rhythm' in options ? options.rhythm : everyRhythm(options.everyMs)
  let lead: Lead | undefined
  let ending: Promise<void> = Promise.resolve()
  const end = (over: Lead): void => {
    if (lead === over) lead = undefined
    ending = over.end()
  }
  return {
    async next(signal) {
      await ending
      if (signal.aborted) return undefined
      let current = lead
      if (current === undefined) {
        const begun = new Lead({ ...options, queue, rhythm })
        current = lead = begun
        signal.addEventListener('abort', () => end(begun), { once: true })
        await begun.begin()
      }
      return current.next()
    },
    demand() {
      lead?.demand()
    },
    async close() {
      if (lead !== undefined) end(lead)
      await ending
    },
  }
}
