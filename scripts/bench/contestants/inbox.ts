import type { Heat } from '../part.ts'
import type { BenchServer } from '../server.ts'
import { benchSql } from '../statements.ts'

export const INBOX = 'service_ops.integration_inbox'
export const BARE = 'bench.inbox'

type Fill = 'fill_bare' | 'fill_inbox' | 'fill_keyed'

/** A full table, with nothing left of the contestant before. */
export async function fillInbox(
  server: BenchServer,
  fill: Fill,
  rows: number,
  keyed?: { readonly keys: number; readonly ordered: boolean },
): Promise<void> {
  await server.query(benchSql('empty'))
  await server.query('CHECKPOINT')
  await server.query(benchSql(fill), keyed === undefined ? [rows] : [rows, keyed.keys, keyed.ordered])
  await server.query(`VACUUM (ANALYZE) ${fill === 'fill_bare' ? BARE : INBOX}`)
}

/** Throws unless every message is done, by one claim. */
export function allDone(
  server: BenchServer,
  count: 'count_bare' | 'count_inbox',
  rows: number,
): Heat['check'] {
  return async () => {
    const [found] = await server.query<{ rows: number; done: number }>(benchSql(count))
    if (found?.rows !== rows || found.done !== rows)
      throw new Error(`${found?.done ?? 0} of ${rows} messages were done once`)
  }
}
