import { Logger, run } from 'graphile-worker'
import type { Racer, RacerOptions } from './racer.ts'

export const GRAPHILE = 'graphile-worker, addJob'

export async function graphile({ url, started }: RacerOptions): Promise<Racer> {
  const runner = await run({
    connectionString: url,
    concurrency: 10,
    noHandleSignals: true,
    logger: new Logger(() => () => undefined),
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
