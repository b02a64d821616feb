import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { freePort } from '../../../tests/support/port.ts'
import { createPool } from '../../../src/db/pool.ts'
import { wakeOn } from '../../../src/ingest/wakeTrigger.ts'
import { untilReady } from '../load.ts'
import { benchSql } from '../statements.ts'
import { startChild } from './child.ts'
import type { Contestant } from './contestant.ts'
import { AT_ONCE, BATCH, BATCHES, BATCHES_AT_ONCE, LIMIT, POOL_MAX, SINGLES } from './load.ts'

const ROOT = resolve(import.meta.dirname, '../../..')
const BIN = join(ROOT, 'bin/tidemark.js')
const CONFIG = new URL('tidemarkConfig.ts', import.meta.url).href

/** Processors listen on it; the payload is the source. */
const CHANNEL = 'tidemark_inbox'

function version(): string {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  return version
}

/** Real `tidemark start` processes, with slots, on two sources that wake their pollers. */
export const tidemark: Contestant = {
  name: 'Tidemark',
  version: version(),
  settings:
    `slots: { perKey: ${LIMIT} }, wake on, every: '1s'; ` +
    `handle with concurrency ${AT_ONCE}, and handleBatch with batchSize ${BATCH}, concurrency ${BATCHES_AT_ONCE}`,
  promise: `Never more than perKey messages of one key are in work at once, in all instances together.`,
  async prepare(server) {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-groups-'))
    const file = join(folder, 'tidemark.config.mjs')
    writeFileSync(file, `export { config as default } from ${JSON.stringify(CONFIG)}\n`)
    return {
      async start(name) {
        const port = await freePort()
        const env = {
          DATABASE_URL: server.url,
          HOST: '127.0.0.1',
          PORT: String(port),
          DB_POOL_MAX: String(POOL_MAX),
        }
        const ready = (): Promise<void> => untilReady(`http://127.0.0.1:${port}`)
        return startChild(name, [BIN, 'start', '--config', file], env, ready)
      },
      async ready() {
        const pool = createPool({
          url: server.url,
          applicationName: 'bench',
          connectTimeoutMs: 5_000,
          limits: { statementTimeoutMs: 30_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
          max: 1,
        })
        for (const source of [SINGLES, BATCHES]) await wakeOn(pool, source)
        await pool.end()
      },
      async write({ first, last, tenants, workMs }) {
        await server.query(benchSql('write_groups'), [first, last, tenants, workMs])
      },
      async notify() {
        for (const source of [SINGLES, BATCHES]) await server.query(benchSql('notify'), [CHANNEL, source])
      },
      async count() {
        const [counted] = await server.query<{ done: number }>(benchSql('count_groups'))
        const [slots] = await server.query<{ held: number }>(benchSql('held_slots'))
        return { done: counted?.done ?? 0, held: slots?.held ?? 0 }
      },
      async close() {
        rmSync(folder, { recursive: true, force: true })
      },
    }
  },
}
