import { Client } from 'pg'
import { benchSql } from '../statements.ts'
import type { Racer, RacerOptions } from './racer.ts'

export const BARE = 'bare SQL, INSERT with NOTIFY, LISTEN and claim'

/** One connection adds, another listens and claims: the least that a queue with notifications does. */
export async function bare({ url, started }: RacerOptions): Promise<Racer> {
  const adds = new Client({ connectionString: url })
  const claims = new Client({ connectionString: url })
  await Promise.all([adds.connect(), claims.connect()])
  await adds.query(benchSql('make_bare_queue'))
  let claiming = Promise.resolve()
  claims.on('notification', () => {
    claiming = claiming.then(async () => {
      const text = benchSql('claim_one')
      const { rows } = await claims.query({ name: 'claim_one', text })
      if (rows.length > 0) started()
    })
  })
  await claims.query('LISTEN bench_queue')
  return {
    ways: [
      {
        name: BARE,
        async add(n) {
          await adds.query({ name: 'add_one', text: benchSql('add_one'), values: [n] })
        },
      },
    ],
    async close() {
      await Promise.all([adds.end(), claims.end()])
    },
  }
}
