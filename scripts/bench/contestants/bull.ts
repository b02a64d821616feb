import type { Contestant } from '../part.ts'
import { loadPeer, peerVersion } from '../peers.ts'
import { REDIS_DURABILITY } from '../redis.ts'
import type { BenchRedis } from '../redis.ts'
import { pagesOf, payloadOf } from './payload.ts'

const QUEUE = 'drain'

/** docs.bullmq.io, "Parallelism and Concurrency": 100 to 300 for handlers that wait. Of 24, 100 and 300 here the fastest. */
const CONCURRENCY = 100

/** BullMQ, one worker. */
export async function bullDrain(redis: BenchRedis, rows: number): Promise<Contestant> {
  const { Queue, Worker } = await loadPeer('bullmq')
  const { connection } = redis
  return {
    name: peerVersion('bullmq').replace('bullmq', 'BullMQ'),
    table: null,
    settings: `one Worker, concurrency ${CONCURRENCY}, ioredis, Redis ${redis.version} beside it; server µs are Redis's`,
    guarantees: `at least once, completions fenced by a lock's token; stalled jobs come back after 30 s; finished jobs stay; ${REDIS_DURABILITY}`,
    async prepare() {
      await redis.empty()
      const queue = new Queue(QUEUE, { connection })
      await queue.waitUntilReady()
      for (const page of pagesOf(rows))
        await queue.addBulk(page.map((n) => ({ name: QUEUE, data: payloadOf(n) })))
      let handled = 0
      let completed = 0
      const worker = new Worker(
        QUEUE,
        async () => {
          handled += 1
        },
        { connection, concurrency: CONCURRENCY, autorun: false },
      )
      await worker.waitUntilReady()
      const settled = async (): Promise<void> => {
        const counts = await queue.getJobCounts('completed')
        if (handled !== rows || counts['completed'] !== rows)
          throw new Error(
            `${handled} jobs were handled and ${counts['completed'] ?? 0} completed, of ${rows}`,
          )
      }
      return {
        async run() {
          await new Promise<void>((resolve, reject) => {
            worker.on('error', reject)
            // It is emitted when Redis has said that the job is completed.
            worker.on('completed', () => {
              completed += 1
              if (completed === rows) resolve()
            })
            worker.run().catch(reject)
          })
        },
        settled,
        serverPid: redis.pid,
        async close() {
          await worker.close()
          await queue.close()
        },
        check: () => redis.empty(),
      }
    },
  }
}
