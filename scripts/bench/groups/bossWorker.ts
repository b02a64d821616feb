import { PgBoss } from 'pg-boss'
import type { Job } from 'pg-boss'
import { bossSettings } from './bossSettings.ts'
import { BATCHES, SINGLES } from './load.ts'
import { openVisits } from './visits.ts'
import type { Visitor } from './visits.ts'

/** A process of pg-boss's, started by the bench, which it tells when it works. */

const { DATABASE_URL = '', BENCH_NAME = '', BENCH_NOTIFY = '' } = process.env
const { options, singles, batches } = bossSettings(BENCH_NOTIFY === 'true')
const visit = openVisits(DATABASE_URL, 'pg-boss', BENCH_NAME)
const boss = new PgBoss({ connectionString: DATABASE_URL, ...options })
boss.on('error', () => undefined)
await boss.start()
const handle = (jobs: readonly Job<Visitor>[]): Promise<void> => visit(jobs.map(({ data }) => data))
await boss.work(SINGLES, singles, handle)
await boss.work(BATCHES, batches, handle)
process.send?.('ready')

const stop = (): void => {
  void boss.stop().finally(() => process.exit(0))
}
process.once('SIGTERM', stop).once('disconnect', stop)
