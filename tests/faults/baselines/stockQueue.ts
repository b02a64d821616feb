/**
 * A baseline, for comparison only: pg-boss as it comes. Its cron makes a job every minute; the job reads on from a cursor
 * `(created_at, id)` and sends a job for each row; workers run the handlers. See its settings in program.ts.
 *
 * It is used as well as it can be: rows are sent by the transaction that moves the cursor, and effects in the database
 * commit with the completion of their job.
 */
import { createHash } from 'node:crypto'
import { PgBoss } from 'pg-boss'
import type { Db, JobWithMetadata } from 'pg-boss'
import { SOURCES } from '../config.ts'
import { databaseUrl, inside, outside, say } from './handler.ts'
import type { Row } from './handler.ts'

const PAGE = 500
const QUEUE = { retryLimit: 20, retryDelay: 1, retryBackoff: true, retryDelayMax: 5, heartbeatSeconds: 30 }
const WORK = {
  batchSize: 1,
  localConcurrency: 4,
  pollingIntervalSeconds: 0.5,
  includeMetadata: true,
} as const

const me = `stock:${process.pid}`
// Eight transactional workers, one that polls, and what pg-boss itself needs.
const boss = new PgBoss({ connectionString: databaseUrl(), application_name: me, max: 16 })
boss.on('error', (error) => say(me, 'failed', String(error)))

async function poll(tx: Db, source: string): Promise<void> {
  for (;;) {
    const page = await tx.executeSql(
      `SELECT s.id::text AS id, s.at::text AS at, s.payload
         FROM (SELECT * FROM stock_cursor WHERE poller = $1 FOR UPDATE) c, ${source} s
        WHERE (s.at, s.id) > (c.at, c.id) ORDER BY s.at, s.id LIMIT ${PAGE}`,
      [source],
    )
    // The columns are those of the statement above.
    const rows = page.rows as readonly Row[]
    const last = rows.at(-1)
    if (last === undefined) return
    await boss.insert(
      source,
      rows.map((row) => ({ id: idOf(source, row), data: row })),
      { db: tx },
    )
    await tx.executeSql('UPDATE stock_cursor SET at = $2, id = $3 WHERE poller = $1', [
      source,
      last.at,
      last.id,
    ])
    if (rows.length < PAGE) return
  }
}

/** A UUID of the row: sent twice, it is one job. */
function idOf(source: string, { id }: Row): string {
  const hex = createHash('md5').update(`${source} ${id}`).digest('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

await boss.start()
await boss.createQueue('poll', { ...QUEUE, policy: 'exclusive' })
for (const source of SOURCES) await boss.createQueue(source, QUEUE)
await boss.schedule('poll', '* * * * *', null, { missed: 'once' })
await boss.work('poll', { transactional: true }, async (_jobs, tx) => {
  for (const source of SOURCES) await poll(tx, source)
})
for (const source of SOURCES) {
  if (source === 'calls')
    await boss.work(source, WORK, async (jobs: JobWithMetadata<Row>[]) => {
      for (const { data, retryCount } of jobs) await outside(source, data, retryCount + 1)
    })
  else
    await boss.work(source, { ...WORK, transactional: true }, async (jobs: JobWithMetadata<Row>[], tx) => {
      for (const { data, retryCount } of jobs)
        await inside(source, data, retryCount + 1, (text, values) => tx.executeSql(text, values))
    })
}
say(me, 'ready', 'ready')
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void boss.stop())
