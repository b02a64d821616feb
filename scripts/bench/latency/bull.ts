import { loadPeer } from '../peers.ts'
import type { Racer, RacerOptions } from './racer.ts'

export const BULL = 'BullMQ, add, Redis with its default snapshots'

export async function bull({ redis: connection, started }: RacerOptions): Promise<Racer> {
  if (connection === undefined) throw new Error('BullMQ needs a Redis')
  const { Queue, Worker } = await loadPeer('bullmq')
  const queue = new Queue('push', { connection })
  const handle = (): Promise<void> => {
    started()
    return Promise.resolve()
  }
  const worker = new Worker('push', handle, { connection })
  // Without a listener its client writes lost connections to the console; the bench ends Redis after it.
  for (const part of [queue, worker]) part.on('error', () => undefined)
  await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()])
  return {
    ways: [
      {
        name: BULL,
        async add(n) {
          await queue.add('push', { n })
        },
      },
    ],
    async close() {
      await worker.close()
      await queue.close()
    },
  }
}
