import { setTimeout as pause } from 'node:timers/promises'
import { createPool } from '../../../src/db/pool.ts'
import { wakeOn } from '../../../src/ingest/wakeTrigger.ts'
import { startInstance } from '../instance.ts'
import { cpuMs } from '../meter.ts'
import { rssMb } from '../process.ts'
import type { BenchServer } from '../server.ts'
import { lineSql } from './statements.ts'
import { openWriters } from './writer.ts'

/** A source, an instance that works it off, and writers. */
export interface LineBed {
  readonly server: BenchServer
  readonly pid: number
  /** Where the instance listens. */
  readonly address: string
  /** The instance's memory at its highest so far, in megabytes. */
  readonly highestRssMb: number | null
  /**
   * Makes passes until fewer rows than `rows` would be read again: the next step begins as if it were the first.
   * Default: a page, which costs nothing that shows.
   */
  settle(rows?: number): Promise<void>
  /** Writes at a steady rate, waits until all is done, and tells how it went. */
  step(rate: number, seconds: number): Promise<Step>
  /** The last step in slices of so many seconds, of the whole ones. */
  slices(seconds: number): Promise<Slice[]>
  /** Rows of one commit, worked off with nobody writing beside it: messages a second. */
  burst(rows: number): Promise<number>
  /** Rows in commits of 10,000, each when most of those before it are done: always busy, and never far behind. Messages a second. */
  stream(rows: number): Promise<number>
  /** Throws unless each row was done, and once. Resolves to their number. */
  check(): Promise<number>
  close(): Promise<void>
}

export interface Step {
  readonly rate: number
  /** Rows a second that were written; it was asked for `rate`. */
  readonly written: number
  readonly late99Ms: number
  /** Of the messages that were written, those done before the writers ended, a second. */
  readonly perSecond: number
  readonly rows: number
  readonly p50Ms: number
  readonly p95Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly meanMs: number
  /** Open messages, on an average, in the first and the last quarter of the step. */
  readonly openFirst: number
  readonly openLast: number
  /** CPU of the instance a message, in microseconds; null where there is no /proc. */
  readonly instanceCpuUs: number | null
}

export interface Slice {
  /** Of what came in it; null: nothing came. */
  readonly p50Ms: number | null
  readonly p99Ms: number | null
  /** What was done in it. */
  readonly perSecond: number
}

export interface BedOptions {
  /** Rows that are there before the poller is. */
  readonly prefilled?: number
  /** The processor's options but `from`, as they stand in a config file. Default: a no-op handler of batches. */
  readonly processor?: string
}

/** A no-op that the processor has to wait for, as for every real handler. */
const BATCHES = `contract: 'external', concurrency: 4, batchSize: 1000, async handleBatch() {}`

const NAME = 'bench_line'
const PAGE = 1_000

/** Of `stream`: so many rows a commit, and so many commits that are not done. */
const CHUNK = 10_000
const CHUNKS_OPEN = 3

const LOOK_MS = 50
/** Of `stream`: well below the time that a commit's rows take. */
const SOON_MS = 10
const SETTLE_MS = 250
const RSS_EVERY_MS = 500
/** Nothing that was written takes longer, on whatever machine. */
const LIMIT_MS = 300_000

export async function openBed(server: BenchServer, options: BedOptions = {}): Promise<LineBed> {
  await server.query(lineSql('make_line'))
  if (options.prefilled !== undefined) await server.query(lineSql('fill_line'), [options.prefilled])
  const instance = await startInstance(
    server,
    `export default {
      pollers: { ${NAME}: {
        source: { table: 'bench.line', id: 'id', createdAt: 'created_at', payload: 'payload' },
        pageSize: ${PAGE}, startFrom: 'beginning' } },
      processors: { ${NAME}_processor: { from: '${NAME}', ${options.processor ?? BATCHES} } },
    }`,
  )
  let highestRssMb = rssMb(instance.pid)
  const watch = setInterval(() => {
    const now = rssMb(instance.pid)
    if (now !== null) highestRssMb = Math.max(highestRssMb ?? 0, now)
  }, RSS_EVERY_MS)
  await wake(server)
  const writers = await openWriters(server)

  async function allDone(inbox: string, source: string): Promise<void> {
    const deadline = performance.now() + LIMIT_MS
    for (;;) {
      const [newest] = await server.query<{ done: boolean }>(lineSql('newest_done'))
      if (newest?.done === true) {
        const [found] = await server.query<{ open: number }>(lineSql('open_rows'), [inbox, source])
        if (found?.open === 0) return
      }
      if (performance.now() > deadline)
        throw new Error(`the line did not come to an end in ${LIMIT_MS / 1000} s`)
      await pause(LOOK_MS)
    }
  }

  async function isDone(row: bigint): Promise<boolean> {
    const [found] = await server.query<{ done: boolean }>(lineSql('row_done'), [String(row)])
    return found?.done === true
  }

  if (options.prefilled !== undefined) await allDone('0', '0')
  let stepped = '0'
  return {
    server,
    pid: instance.pid,
    address: instance.address,
    get highestRssMb() {
      return highestRssMb
    },
    async settle(rows = PAGE) {
      const deadline = performance.now() + LIMIT_MS
      for (;;) {
        const [found] = await server.query<{ rows: number }>(lineSql('read_again'), [rows])
        if (found !== undefined && found.rows < rows) return
        if (performance.now() > deadline) throw new Error(`the edge did not move in ${LIMIT_MS / 1000} s`)
        await fetch(`${instance.address}/admin/tasks/${NAME}/poll`, {
          method: 'POST',
          headers: { authorization: `Bearer ${instance.token}` },
        })
        await pause(SETTLE_MS)
      }
    },
    async step(rate, seconds) {
      const at = await mark(server)
      stepped = at.inbox
      const cpuBefore = cpuMs(instance.pid)
      const { perSecond: written, late99Ms, rows } = await writers.write(rate, seconds)
      await allDone(at.inbox, at.source)
      const cpuAfter = cpuMs(instance.pid)
      type Found = Omit<Step, 'rate' | 'written' | 'late99Ms' | 'perSecond' | 'instanceCpuUs'>
      const [found] = await server.query<Found & { doneMeanwhile: number; seconds: number }>(
        lineSql('step'),
        [at.inbox],
      )
      if (found?.rows !== rows) throw new Error(`${found?.rows ?? 0} messages came of ${rows} rows`)
      const { doneMeanwhile, seconds: took, ...figures } = found
      return {
        rate,
        written,
        late99Ms,
        perSecond: doneMeanwhile / Math.max(took, rows / rate),
        ...figures,
        instanceCpuUs:
          cpuBefore === null || cpuAfter === null ? null : ((cpuAfter - cpuBefore) * 1000) / rows,
      }
    },
    slices: (seconds) => server.query<Slice & Record<string, unknown>>(lineSql('slices'), [stepped, seconds]),
    async burst(rows) {
      const at = await mark(server)
      await server.query(lineSql('write'), [0, rows])
      await allDone(at.inbox, at.source)
      return burstSpeed(server, at.inbox)
    },
    async stream(rows) {
      const at = await mark(server)
      const deadline = performance.now() + LIMIT_MS
      for (let written = 0; written < rows; written += CHUNK) {
        // Numbers have no gaps: nobody else writes.
        const last = written - (CHUNKS_OPEN - 1) * CHUNK
        while (last > 0 && !(await isDone(BigInt(at.source) + BigInt(last)))) {
          if (performance.now() > deadline) throw new Error(`the line stands still at row ${last} of ${rows}`)
          await pause(SOON_MS)
        }
        await server.query(lineSql('write'), [0, Math.min(CHUNK, rows - written)])
      }
      await allDone(at.inbox, at.source)
      return burstSpeed(server, at.inbox)
    },
    async check() {
      const [found] = await server.query<{ written: number; lost: number; open: number; again: number }>(
        lineSql('faults'),
      )
      if (found === undefined || found.lost + found.open + found.again > 0)
        throw new Error(`not each row was done once: ${JSON.stringify(found)}`)
      return found.written
    },
    async close() {
      clearInterval(watch)
      await writers.close()
      await instance.end()
    },
  }
}

async function mark(server: BenchServer): Promise<{ inbox: string; source: string }> {
  const [at] = await server.query<{ inbox: string; source: string }>(lineSql('mark'))
  if (at === undefined) throw new Error('the bench has no mark')
  return at
}

/** Messages a second since the mark, from the first one taken in to the last one done. */
export async function burstSpeed(server: BenchServer, inbox: string): Promise<number> {
  const [found] = await server.query<{ rows: number; seconds: number }>(lineSql('burst'), [inbox])
  return found === undefined ? Number.NaN : found.rows / found.seconds
}

/** The insert trigger, on. */
async function wake(server: BenchServer): Promise<void> {
  const pool = createPool({
    url: server.url,
    applicationName: 'bench',
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs: 30_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
    max: 1,
  })
  try {
    await wakeOn(pool, NAME)
  } finally {
    await pool.end()
  }
}
