import type { PgBoss } from 'pg-boss'
import type { Contestant } from '../part.ts'
import { loadPeer, peerVersion } from '../peers.ts'
import type { BenchServer } from '../server.ts'
import { until } from '../until.ts'
import { pagesOf, payloadOf } from './payload.ts'

const SCHEMA = 'bench_boss_drain'
const TABLE = `${SCHEMA}.job_common`
const QUEUE = 'drain'
const BATCH = 1_000

/** Of 1, 2 and 4, two were the fastest on two cores, in both shapes. */
const WORKERS = 2

/** A look counts all its jobs. */
const LOOK_MS = 5

const GUARANTEES =
  'at least once; retries with backoff and dead letters; jobs of a dead process come back after 15 min; finished jobs stay 7 days'

/** pg-boss at its fastest, in the two ways in which it is used. */
export function bossDrains(server: BenchServer, rows: number): Promise<Contestant[]> {
  return Promise.all([
    bossDrain(server, rows, {
      name: 'work',
      settings: `work() with batchSize ${BATCH}, burstWhenBatchFull, localConcurrency ${WORKERS}, pool of 10`,
      guarantees: GUARANTEES,
      async drain(boss) {
        let handled = 0
        const options = {
          batchSize: BATCH,
          burstWhenBatchFull: true,
          localConcurrency: WORKERS,
          pollingIntervalSeconds: 0.5,
        }
        await boss.work(QUEUE, options, async (jobs) => {
          handled += jobs.length
        })
        await until('the end of its jobs', () => handled >= rows)
        await until('the completion of its jobs', async () => (await completed(server)) >= rows, LOOK_MS)
        return handled
      },
    }),
    bossDrain(server, rows, {
      name: 'fetch and complete',
      settings: `fetch() with batchSize ${BATCH} and complete() by ids, ${WORKERS} loops at once, pool of 10`,
      guarantees: `${GUARANTEES}; completed by id alone, so a late attempt completes the job of a newer one`,
      async drain(boss) {
        const handled = await Promise.all(Array.from({ length: WORKERS }, () => loop(boss)))
        return handled.reduce((sum, count) => sum + count, 0)
      },
    }),
  ])
}

async function loop(boss: PgBoss): Promise<number> {
  let handled = 0
  for (;;) {
    const jobs = await boss.fetch(QUEUE, { batchSize: BATCH })
    if (jobs.length === 0) return handled
    await boss.complete(
      QUEUE,
      jobs.map(({ id }) => id),
    )
    handled += jobs.length
  }
}

interface Shape {
  readonly name: string
  readonly settings: string
  readonly guarantees: string
  /** Resolves to how many were handled, when all are completed. */
  drain(boss: PgBoss): Promise<number>
}

async function bossDrain(server: BenchServer, rows: number, shape: Shape): Promise<Contestant> {
  const module = await loadPeer('pg-boss')
  return {
    name: `${peerVersion('pg-boss')}, ${shape.name}`,
    table: TABLE,
    settings: shape.settings,
    guarantees: shape.guarantees,
    async prepare() {
      const boss = new module.PgBoss({ connectionString: server.url, schema: SCHEMA, max: 10 })
      // Upkeep that fails does not end the race; a race that fails says so itself.
      boss.on('error', () => undefined)
      await boss.start()
      await boss.createQueue(QUEUE)
      await server.query(`TRUNCATE ${TABLE}`)
      await server.query('CHECKPOINT')
      for (const page of pagesOf(rows))
        await boss.insert(
          QUEUE,
          page.map((n) => ({ data: payloadOf(n) })),
        )
      await server.query(`VACUUM (ANALYZE) ${TABLE}`)
      let handled = 0
      return {
        async run() {
          handled = await shape.drain(boss)
        },
        close: () => boss.stop(),
        async check() {
          const done = await completed(server)
          if (handled !== rows || done !== rows)
            throw new Error(`${handled} jobs were handled and ${done} completed, of ${rows}`)
          await server.query(`TRUNCATE ${TABLE}`)
        },
      }
    },
  }
}

async function completed(server: BenchServer): Promise<number> {
  const [found] = await server.query<{ done: number }>(
    `SELECT count(*)::integer AS done FROM ${TABLE} WHERE name = '${QUEUE}' AND state = 'completed' AND retry_count = 0`,
  )
  return found?.done ?? 0
}
