import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { layoutOf } from '../../../src/db/embedded/cluster.ts'
import { useEmbedded } from '../../../src/db/embedded.ts'
import { startInstance } from '../instance.ts'
import type { BenchPart } from '../part.ts'
import { rssMb } from '../process.ts'
import { median } from '../report.ts'
import { benchSql } from '../statements.ts'
import { countStatements, LINE_PREFIX } from './count.ts'
import { idleOf, idleText, idleVerdicts } from './report.ts'

/*
 * What an instance with nothing to do asks of PostgreSQL, and what it takes of the memory: a real process with 2 pollers at
 * 60 s, 2 processors and 2 cron jobs (one that never comes, one each minute), on a new server of its own whose log it alone
 * fills. The start is left out.
 *
 * pg-boss works by the minute, so whole minutes are measured. Once a day it goes over each of its queues, on a new database in
 * the first minutes: those statements are counted as all are, and told apart as well.
 */

const SETTLE_MS = 15_000
/** Two minutes; one in the short form. A row is worth so much of it, for tests. */
const SECONDS = { full: 120, quick: 60, rows: 200 }

const CONFIG = `
const source = (table) => ({ table, id: 'id', createdAt: 'created_at', payload: 'body' })
const processor = (from) => ({ from, contract: 'transactional', handle() {} })
export default {
  pollers: {
    first: { source: source('first'), every: '60s' },
    second: { source: source('second'), every: '60s' },
  },
  processors: { one: processor('first'), two: processor('second') },
  jobs: {
    each_minute: { cron: '* * * * *', handle() {} },
    each_year: { cron: '0 0 1 1 *', handle() {} },
  },
}
`

export const idle: BenchPart = {
  name: 'idle',
  about: 'what an instance with nothing to do asks of PostgreSQL, and the memory that it takes',
  async run(_server, { rows, quick }, tell) {
    const seconds = Math.min(Math.ceil(rows / SECONDS.rows), quick ? SECONDS.quick : SECONDS.full)
    const result = await measure(seconds, tell)
    return { json: result, text: idleText(result), verdicts: idleVerdicts(result) }
  },
}

async function measure(seconds: number, tell: (what: string) => void) {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-idle-'))
  const embedded = await useEmbedded(folder)
  const client = new Client({ connectionString: embedded.url, application_name: 'count' })
  await client.connect()
  const set = async (...statements: string[]): Promise<void> => {
    for (const statement of [...statements, 'SELECT pg_reload_conf()']) await client.query(statement)
  }
  try {
    await client.query(benchSql('make_idle'))
    const instance = await startInstance(embedded, CONFIG)
    const bare = await startBareNode()
    try {
      tell('idle: the instance settles')
      await pause(SETTLE_MS)
      await set(
        `ALTER SYSTEM SET log_line_prefix = '${LINE_PREFIX}'`,
        "ALTER SYSTEM SET log_statement = 'all'",
      )
      const memory: (number | null)[] = []
      for (let second = 1; second <= seconds; second += 1) {
        tell(`idle: second ${second} of ${seconds}`)
        await pause(1_000)
        memory.push(rssMb(instance.pid))
      }
      await set("ALTER SYSTEM SET log_statement = 'none'")
      await pause(500)
      const counts = countStatements(readFileSync(layoutOf(folder).log, 'utf8'))
      const known = memory.filter((mb) => mb !== null)
      return idleOf({
        counts,
        seconds,
        rssMb: known.length === 0 ? null : median(known),
        bareRssMb: rssMb(bare.pid),
      })
    } finally {
      await Promise.all([instance.end(), bare.end()])
    }
  } finally {
    await client.end()
    await embedded.leave()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A Node process that does nothing at all. */
async function startBareNode(): Promise<{ readonly pid: number; end(): Promise<void> }> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 60_000)'], { stdio: 'ignore' })
  await once(child, 'spawn')
  const gone = once(child, 'exit')
  return {
    pid: child.pid ?? -1,
    async end() {
      child.kill('SIGKILL')
      await gone
    },
  }
}
