import type { Contestant } from '../part.ts'
import { loadPeer, peerVersion } from '../peers.ts'
import type { GraphilePreset, GraphileRunner } from '../peerTypes.ts'
import type { BenchServer } from '../server.ts'
import { until } from '../until.ts'
import { pagesOf, payloadOf } from './payload.ts'

const SCHEMA = 'bench_graphile'
const TABLE = `${SCHEMA}._private_jobs`
const TASK = 'drain'

/** What its page on performance measures itself with: worker.graphile.org/docs/performance. */
const CONCURRENCY = 24
const LOCAL_QUEUE = 500

/** graphile-worker at its fastest. */
export async function graphileDrain(server: BenchServer, rows: number): Promise<Contestant> {
  // As its own benchmark does; it is read when the module is loaded.
  process.env['NO_LOG_SUCCESS'] = '1'
  const graphile = await loadPeer('graphile-worker')
  const preset: GraphilePreset = {
    worker: {
      connectionString: server.url,
      schema: SCHEMA,
      concurrentJobs: CONCURRENCY,
      maxPoolSize: CONCURRENCY + 1,
      localQueue: { size: LOCAL_QUEUE },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
      logger: new graphile.Logger(() => () => undefined),
    },
  }
  const isEmpty = async (): Promise<boolean> => {
    const [found] = await server.query<{ left: boolean }>(`SELECT EXISTS (SELECT FROM ${TABLE}) AS left`)
    return found?.left === false
  }

  async function fill(): Promise<void> {
    const utils = await graphile.makeWorkerUtils({ preset })
    await utils.migrate()
    await server.query(`TRUNCATE ${TABLE}`)
    await server.query('CHECKPOINT')
    for (const page of pagesOf(rows))
      await utils.addJobs(page.map((n) => ({ identifier: TASK, payload: payloadOf(n) })))
    await utils.release()
    await server.query(`VACUUM (ANALYZE) ${TABLE}`)
  }

  return {
    name: peerVersion('graphile-worker'),
    table: TABLE,
    settings: `concurrentJobs ${CONCURRENCY}, localQueue ${LOCAL_QUEUE}, completions batched (delay 0), no log of successes, as its page on performance; its start is in its time`,
    guarantees:
      'at least once, one handler a job; retries with backoff; completed by id alone, so a late attempt completes the job of a newer one; jobs of a dead process come back after 4 h; finished jobs are deleted',
    async prepare() {
      await fill()
      let handled = 0
      let runner: GraphileRunner | undefined
      return {
        async run() {
          const handle = async (): Promise<void> => {
            handled += 1
          }
          runner = await graphile.run({ preset, taskList: { [TASK]: handle }, noHandleSignals: true })
          await until('the end of its jobs', () => handled >= rows)
          await until('the completion of its jobs', isEmpty)
        },
        async close() {
          await runner?.stop()
        },
        async check() {
          if (handled !== rows || !(await isEmpty()))
            throw new Error(`${handled} of ${rows} jobs were handled`)
          // The dead rows of a heat are not vacuumed in somebody else's.
          await server.query(`TRUNCATE ${TABLE}`)
        },
      }
    },
  }
}
