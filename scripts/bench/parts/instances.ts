import { allDone, fillInbox, INBOX } from '../contestants/inbox.ts'
import { BATCH, GUARANTEES, SETTINGS } from '../contestants/own.ts'
import { startWorker } from '../contestants/worker.ts'
import type { Shape, Worker } from '../contestants/worker.ts'
import type { Contestant, Part } from '../part.ts'
import type { BenchServer } from '../server.ts'

const PROCESSES = [1, 2, 4]
const SHAPES: readonly Shape[] = ['batched', 'single']
const TOLD = { batched: `batches of ${BATCH}`, single: 'one at a time' }

/** The drain by several processes at once. They are up and connected before the clock starts, and it is what lets them begin. */
export async function instancesPart(server: BenchServer, rows: number): Promise<Part> {
  const nameOf = (processes: number, shape: Shape): string =>
    `${processes} ${processes === 1 ? 'process' : 'processes'}, ${TOLD[shape]}`
  const workers: Worker[] = []
  const close = async (): Promise<void> => {
    await Promise.all(workers.map((worker) => worker.end()))
  }
  try {
    for (let n = 1; n <= Math.max(...PROCESSES); n += 1) workers.push(await startWorker(server, `bench-${n}`))
  } catch (error) {
    await close()
    throw error
  }
  return {
    name: 'instances',
    title: 'inbox to DONE, no-op handler, processes of their own',
    messages: rows,
    contestants: SHAPES.flatMap((shape) =>
      PROCESSES.map((count) =>
        contestant(server, rows, nameOf(count, shape), workers.slice(0, count), shape),
      ),
    ),
    against: nameOf(1, 'batched'),
    floors: SHAPES.flatMap((shape) =>
      PROCESSES.filter((count) => count > 1).map((count) => ({
        of: nameOf(count, shape),
        against: nameOf(1, shape),
        least: 1,
      })),
    ),
    close,
  }
}

function contestant(
  server: BenchServer,
  rows: number,
  name: string,
  workers: readonly Worker[],
  shape: Shape,
): Contestant {
  return {
    name,
    table: INBOX,
    settings: `each: ${SETTINGS[shape]}`,
    guarantees: GUARANTEES.external,
    async prepare() {
      await fillInbox(server, 'fill_inbox', rows)
      await Promise.all(workers.map((worker) => worker.prepare(shape)))
      const check = allDone(server, 'count_inbox', rows)
      return {
        async run() {
          const finished = workers.map(() => 0)
          await new Promise<void>((resolve) => {
            for (const [at, worker] of workers.entries())
              worker.start((count) => {
                finished[at] = count
                if (finished.reduce((sum, one) => sum + one, 0) >= rows) resolve()
              })
          })
        },
        settled: check,
        async close() {
          await Promise.all(workers.map((worker) => worker.rest()))
        },
        check,
        processes: workers.map(({ pid }) => pid),
      }
    },
  }
}
