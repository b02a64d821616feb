import { Client } from 'pg'
import { bareClients, bareIngest } from '../contestants/bare.ts'
import { leadingPoller } from '../contestants/tidemark.ts'
import type { BenchPart } from '../part.ts'
import { limitOf, median, verdictOf, whole } from '../report.ts'
import { addDatabase } from '../server.ts'
import { scaleSql } from './statements.ts'

/*
 * A window that cannot be closed, since a transaction that wrote into it is open: what each pass over it costs a row. Beside
 * it, in turn, the keyset statement that people write, over the same rows.
 */

const WINDOW = 100_000
const PAGE = 1_000
const MOST_US = 1

export const reread: BenchPart = {
  name: 'reread',
  about: 'a window of 100,000 rows that are in the inbox already, read again: microseconds a row',
  async run(server, { rows, rounds }, tell) {
    const window = Math.min(WINDOW, rows)
    const database = await addDatabase(server, 'bench_reread')
    const holder = new Client({ connectionString: database.url, application_name: 'bench-holder' })
    const bare = await bareClients(database, 1)
    let poller: Awaited<ReturnType<typeof leadingPoller>> | undefined
    const count = async (): Promise<number> => {
      const [found] = await database.query<{ rows: number }>(scaleSql('count_after'), ['0'])
      return found?.rows ?? 0
    }
    try {
      await holder.connect()
      await holder.query('BEGIN')
      await holder.query(scaleSql('write_source'), [1])
      await database.query(scaleSql('write_source'), [window])
      await database.query('VACUUM (ANALYZE) bench.source')
      const leading = await leadingPoller(database, PAGE)
      poller = leading
      const pass = (): Promise<number> => leading.pass()
      const takenInUs = await usARow(window, pass)
      await database.query('VACUUM (ANALYZE) service_ops.integration_inbox')
      const ours: number[] = []
      const others: number[] = []
      for (let round = 1; round <= rounds; round += 1) {
        tell(`reread: round ${round} of ${rounds}`)
        ours.push(await usARow(window, pass))
        for (const client of bare.clients) others.push(await usARow(window, () => bareIngest(client, PAGE)))
      }
      if ((await count()) !== window) throw new Error(`${await count()} messages of ${window} rows`)
      await holder.query('COMMIT')
      await pass()
      if ((await count()) !== window + 1) throw new Error('the row of the open transaction was lost')
      const [us, bareUs] = [median(ours), median(others)]
      const limits = [limitOf({ of: 'a row that is read again', value: us, unit: 'µs', most: MOST_US })]
      const verdicts = limits.map(verdictOf)
      return {
        json: { window, takenInUs, us: ours, bareUs: others, limits },
        text: [
          `\nreread: a window of ${whole(window)} rows, page ${PAGE}, ${rounds} rounds`,
          `taken in ${takenInUs.toFixed(1)} µs a row, read again ${us.toFixed(2)} µs; bare keyset INSERT … ON CONFLICT ${bareUs.toFixed(2)} µs`,
          ...verdicts.map(({ line }) => line),
          '',
        ].join('\n'),
        verdicts,
      }
    } finally {
      await poller?.close()
      await bare.close()
      await holder.end()
      await database.end()
    }
  },
}

async function usARow(rows: number, work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return ((performance.now() - startedAt) * 1000) / rows
}
