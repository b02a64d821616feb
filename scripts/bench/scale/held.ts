import { Client } from 'pg'
import { openBed } from '../line/bed.ts'
import { lineSql } from '../line/statements.ts'
import type { BenchPart } from '../part.ts'
import { limitOf, verdictOf, whole } from '../report.ts'
import { addDatabase } from '../server.ts'
import type { BenchServer } from '../server.ts'
import { edgeOf, inTurn, sidesText } from './sides.ts'

/*
 * A transaction that wrote a row, and stays open while an hour of rows is written behind it. It holds the edge; new rows
 * must not be later for that, and its own row, older than all of them when it is committed, must not be lost. Two lines with
 * the same rows in two databases of one server take turns under the same load; transactions of another database hold nothing.
 */

const RATE = 200
const LATER_MOST = 1.1

export const held: BenchPart = {
  name: 'held',
  about: 'the line while a transaction stays open with an hour of rows behind it, beside one without',
  async run(server, { rows, rounds, quick }, tell) {
    const seconds = Math.min(quick ? 5 : 20, Math.max(1, rows / 1_000))
    const ends: (() => Promise<void>)[] = []
    const openSide = async (name: string, database: string) => {
      const own = await addDatabase(server, database)
      ends.push(() => own.end())
      const bed = await openBed(own, { prefilled: 1 })
      ends.push(() => bed.close())
      return { name, bed }
    }
    try {
      const free = await openSide('no transaction', 'bench_free')
      const bound = await openSide('a transaction is open', 'bench_bound')
      const sides = [free, bound]
      for (const { bed } of sides) await bed.settle(1)
      const open = await openTransaction(bound.bed.server)
      ends.push(() => open.end())
      for (const { name, bed } of sides) {
        tell(`held: an hour of rows: ${name}`)
        await bed.burst(rows)
      }
      await free.bed.settle()
      const figures = await inTurn(sides, { rate: RATE, seconds, rounds }, (what) => tell(`held: ${what}`))
      if ((await edgeOf(bound.bed, open.beganAt)).past)
        throw new Error('the edge passed a transaction that is open')
      await open.commit()
      await bound.bed.settle(1)
      let written = 0
      for (const { bed } of sides) written += await bed.check()
      const [without, withIt] = figures
      const limits = (['p50Ms', 'p99Ms'] as const).map((key) =>
        limitOf({
          of: `${key.slice(0, 3)} with the transaction, over the one without`,
          value: (withIt?.[key] ?? Number.NaN) / (without?.[key] ?? Number.NaN),
          unit: '×',
          most: LATER_MOST,
        }),
      )
      const verdicts = limits.map(verdictOf)
      return {
        json: { windowRows: rows, rate: RATE, seconds, figures, limits, rows: written },
        text: [
          `\nheld: ${whole(rows)} rows behind a transaction (an hour of ${(rows / 3_600).toFixed(1)} a second), ${RATE} new ones a second, ${rounds} rounds of ${seconds} s`,
          sidesText(figures),
          `${whole(written)} rows, each done once; the edge waited for the transaction and went on after it`,
          ...verdicts.map(({ line }) => line),
          '',
        ].join('\n'),
        verdicts,
      }
    } finally {
      for (const end of ends.toReversed()) await end()
    }
  },
}

/** Opens it, and writes its row. */
async function openTransaction(
  server: BenchServer,
): Promise<{ readonly beganAt: string; commit(): Promise<void>; end(): Promise<void> }> {
  const client = new Client({ connectionString: server.url, application_name: 'bench-holder' })
  // What ends it shows in the statement that fails then; the event must not end the process.
  client.on('error', () => undefined)
  await client.connect()
  await client.query('BEGIN')
  await client.query(lineSql('write'), [0, 1])
  const { rows } = await client.query<{ now: string }>('SELECT now()::text AS now')
  return {
    beganAt: rows[0]?.now ?? 'infinity',
    async commit() {
      const { command } = await client.query('COMMIT')
      if (command !== 'COMMIT') throw new Error(`the open transaction ended with ${command}`)
    },
    end: () => client.end(),
  }
}
