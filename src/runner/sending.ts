import { NotRunning } from '../errors.ts'
import type { Runner } from './api.ts'
import type { Work } from './work.ts'

/** What a runner sends, while it has a queue to send by. */
export function createSending(work: () => Work | undefined): Pick<Runner, 'send' | 'redrive'> {
  const running = (): Work => {
    const at = work()
    if (at === undefined) throw new NotRunning()
    return at
  }
  return {
    send: async (job, data, { tx, ...options } = {}) => running().send(job, data, options, tx),
    redrive: async (options = {}) => running().redrive(options),
  }
}
