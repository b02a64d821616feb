import { openBed } from '../line/bed.ts'
import type { BenchPart } from '../part.ts'
import { addDatabase } from '../server.ts'
import { inTurn, sidesText } from './sides.ts'
import type { Side } from './sides.ts'

/*
 * A transactional handler's transaction is alive as any other, and holds the edge while the poller runs. The same handler
 * under both contracts, in two lines that take turns: what the edge does, and what rows are later by. There is no limit on
 * it: each message is a transaction more, and that is what the contract is for.
 */

const RATE = 200
/** What a handler waits for, in milliseconds. */
const WORK_MS = 10

const handler = (contract: 'external' | 'transactional'): string =>
  `contract: '${contract}', concurrency: 10, handle: () => new Promise((done) => setTimeout(done, ${WORK_MS}))`

export const handlers: BenchPart = {
  name: 'handlers',
  about: 'the line with transactional handlers, which hold the edge, beside external ones',
  async run(server, { rows, rounds, quick }, tell) {
    const seconds = Math.min(quick ? 5 : 20, Math.max(1, rows / 1_000))
    const ends: (() => Promise<void>)[] = []
    const sides: Side[] = []
    try {
      for (const contract of ['external', 'transactional'] as const) {
        const own = await addDatabase(server, `bench_${contract}`)
        ends.push(() => own.end())
        const bed = await openBed(own, { prefilled: 1, processor: handler(contract) })
        ends.push(() => bed.close())
        sides.push({ name: contract, bed })
      }
      for (const { bed } of sides) await bed.settle(1)
      const figures = await inTurn(sides, { rate: RATE, seconds, rounds }, (what) =>
        tell(`handlers: ${what}`),
      )
      for (const { bed } of sides) await bed.check()
      return {
        json: { rate: RATE, seconds, workMs: WORK_MS, figures },
        text: [
          `\nhandlers: ${RATE} rows a second, handlers of ${WORK_MS} ms, 10 at once, ${rounds} rounds of ${seconds} s`,
          sidesText(figures),
          '',
        ].join('\n'),
        verdicts: [],
      }
    } finally {
      for (const end of ends.toReversed()) await end()
    }
  },
}
