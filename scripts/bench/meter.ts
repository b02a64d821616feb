import { readdirSync, readFileSync } from 'node:fs'
import { Client } from 'pg'
import type { Heat } from './part.ts'
import type { BenchServer } from './server.ts'
import { benchSql } from './statements.ts'

/** One timed run. CPU is null where there is no /proc. */
export interface Measured {
  readonly ms: number
  readonly perSecond: number
  /** Microseconds of CPU a message. */
  readonly nodeCpuUs: number
  readonly postgresCpuUs: number | null
  readonly walBytes: number
  /** Updates a message, and the share of them that left every index alone. */
  readonly updates: number
  readonly hotShare: number | null
}

/** Runs the timed work once and reads clocks and counters around it. */
export async function measure(
  server: BenchServer,
  table: string,
  heat: Heat,
  messages: number,
): Promise<Measured> {
  const before = await counters(server, table)
  const postgresBefore = postgresCpuMs(server.postmasterPid)
  const nodeBefore = process.cpuUsage()
  const startedAt = performance.now()
  try {
    await heat.run()
  } catch (error) {
    await heat.close().catch(() => undefined) // what failed first is what is told
    throw error
  }
  const ms = performance.now() - startedAt
  const node = process.cpuUsage(nodeBefore)
  const postgresAfter = postgresCpuMs(server.postmasterPid)
  await heat.close()
  const after = await counters(server, table)
  const updates = after.updates - before.updates
  const postgresMs = postgresBefore === null || postgresAfter === null ? null : postgresAfter - postgresBefore
  return {
    ms,
    perSecond: (messages / ms) * 1000,
    nodeCpuUs: (node.user + node.system) / messages,
    postgresCpuUs: postgresMs === null ? null : (postgresMs * 1000) / messages,
    walBytes: (after.wal - before.wal) / messages,
    updates: updates / messages,
    hotShare: updates === 0 ? null : (after.hot - before.hot) / updates,
  }
}

interface Counters {
  readonly wal: number
  readonly updates: number
  readonly hot: number
}

/** A session reports its counts at its end at the latest, so this is asked when the contestant's are closed. */
async function counters(server: BenchServer, table: string): Promise<Counters> {
  const client = new Client({ connectionString: server.url })
  await client.connect()
  try {
    const { rows } = await client.query<Counters & Record<string, unknown>>(benchSql('counters'), [table])
    const [row] = rows
    if (row === undefined) throw new Error(`no counters for ${table}`)
    return row
  } finally {
    await client.end()
  }
}

/** Linux counts in hundredths of a second towards programs, whatever the kernel's own tick is. */
const TICK_MS = 10

/** CPU that the server has used since it started: the postmaster, its living children, and those that have ended. */
export function postgresCpuMs(postmaster: number): number | null {
  let ticks = 0
  try {
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue
      const stat = statOf(entry)
      if (stat === undefined) continue
      if (Number(entry) === postmaster) ticks += stat.own + stat.ofEnded
      else if (stat.parent === postmaster) ticks += stat.own
    }
  } catch {
    return null
  }
  return ticks * TICK_MS
}

function statOf(pid: string): { parent: number; own: number; ofEnded: number } | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined // it has ended meanwhile, and its parent has its time
  }
  // The name in brackets may hold blanks; what follows is numbered from the third field on (man 5 proc).
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const field = (number: number): number => Number(fields[number - 3])
  return { parent: field(4), own: field(14) + field(15), ofEnded: field(16) + field(17) }
}
