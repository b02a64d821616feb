import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { PgBoss } from 'pg-boss'
import type { BenchServer } from '../server.ts'
import { benchSql } from '../statements.ts'
import { bossSettings, bossSettingsText, SCHEMA } from './bossSettings.ts'
import { startChild } from './child.ts'
import type { Contestant, Running } from './contestant.ts'
import { BATCHES, SINGLES } from './load.ts'
import type { Visitor } from './visits.ts'

const WORKER = join(import.meta.dirname, 'bossWorker.ts')

function version(): string {
  const file = resolve(import.meta.dirname, '../../../node_modules/pg-boss/package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

/** As its documentation has it: timgit/pg-boss, docs/api/workers.md, of 12.27.0, the newest that was at hand. */
const PROMISE =
  'The groupConcurrency limit is enforced globally across all nodes by tracking active jobs in the database. However, due to ' +
  'the optimistic locking nature of job fetching, there may be brief moments where the limit is slightly exceeded during ' +
  'race conditions when multiple workers fetch jobs simultaneously.'

/** Processes that work two queues with `groupConcurrency`. */
export function bossContestant(notify: boolean): Contestant {
  return {
    name: 'pg-boss',
    version: version(),
    settings: bossSettingsText(notify),
    promise: PROMISE,
    prepare: (server) => prepare(server, notify),
  }
}

async function prepare(server: BenchServer, notify: boolean): Promise<Running> {
  const { options, queue: settings } = bossSettings(notify)
  // It only sends: upkeep is for the processes that work.
  const sender = new PgBoss({
    ...options,
    connectionString: server.url,
    max: 2,
    useListenNotify: false,
    supervise: false,
  })
  sender.on('error', () => undefined)
  await sender.start()
  for (const queue of [SINGLES, BATCHES]) await sender.createQueue(queue, settings)
  return {
    start: (name) =>
      startChild(name, [WORKER], { DATABASE_URL: server.url, BENCH_NOTIFY: String(notify) }, (child) =>
        once(child, 'message'),
      ),
    ready: () => Promise.resolve(),
    async write({ first, last, tenants, workMs }) {
      const queues = [[], []] as [Visitor[], Visitor[]]
      for (let n = first; n <= last; n += 1) {
        const tenant = n % tenants
        const visitor = {
          message: String(n),
          tenant: `tenant ${tenant}`,
          workMs: workMs + ((n * 7919) % (workMs + 1)),
        }
        queues[tenant % 2 === 0 ? 0 : 1].push(visitor)
      }
      for (const [i, queue] of [SINGLES, BATCHES].entries())
        await sender.insert(
          queue,
          (queues[i] ?? []).map((data) => ({ data, group: { id: data.tenant } })),
        )
    },
    async notify() {
      for (const queue of [SINGLES, BATCHES]) await server.query(benchSql('notify_boss'), [SCHEMA, queue])
    },
    async count() {
      const [counted] = await server.query<{ done: number; held: number }>(benchSql('count_boss'))
      return { done: counted?.done ?? 0, held: counted?.held ?? 0 }
    },
    async close() {
      await sender.stop()
    },
  }
}
