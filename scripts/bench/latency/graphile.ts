import { loadPeer } from '../peers.ts'
import type { Racer, RacerOptions } from './racer.ts'

export const GRAPHILE = 'graphile-worker, addJob'

/** Its default is one; as many as Tidemark has connections. A local queue would only make a single job later. */
const CONCURRENCY = 10

export async function graphile({ url, started }: RacerOptions): Promise<Racer> {
  const worker = await loadPeer('graphile-worker')
  const runner = await worker.run({
    preset: {
      worker: {
        connectionString: url,
        concurrentJobs: CONCURRENCY,
        logger: new worker.Logger(() => () => undefined),
      },
    },
    noHandleSignals: true,
    taskList: { push: () => started() },
  })
  return {
    ways: [
      {
        name: GRAPHILE,
        async add(n) {
          await runner.addJob('push', { n })
        },
      },
    ],
    close: () => runner.stop(),
  }
}
