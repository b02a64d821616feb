import { readdirSync, readFileSync } from 'node:fs'
import { Client } from 'pg'
import type { Contestant, Heat } from './part.ts'
import type { BenchServer } from './server.ts'
import { benchSql } from './statements.ts'

/** One timed run. CPU of servers is null where there is no /proc; what only PostgreSQL has is null of other servers. */
export interface Measured {
  readonly ms: number
  readonly perSecond: number
  /** Microseconds of CPU a message, of the bench's own process and of those of the contestant. */
  readonly nodeCpuUs: number
  readonly serverCpuUs: number | null
  readonly walBytes: number | null
  readonly commits: number | null
  /** Updates a message of the contestant's table, and the share of them that left every index alone. */
  readonly updates: number | null
  readonly hotShare: number | null
}

/** Runs the timed work once and reads clocks and counters around it. */
export async function measure(
  server: BenchServer,
  { table }: Contestant,
  heat: Heat,
  messages: number,
): Promise<Measured> {
  const { serverPid = server.postmasterPid, processes = [] } = heat
  const before = table === null ? null : await counters(server, table)
  const serverBefore = cpuMs(serverPid)
  const othersBefore = sumOf(processes.map(cpuMs))
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
  const othersMs = sumOf(processes.map(cpuMs)) - othersBefore
  const serverAfter = cpuMs(serverPid)
  await heat.settled?.()
  await heat.close()
  const after = table === null ? null : await counters(server, table)
  const grown = (counter: keyof Counters): number | null =>
    before === null || after === null ? null : after[counter] - before[counter]
  const each = (sum: number | null): number | null => (sum === null ? null : sum / messages)
  const [updates, hot] = [grown('updates'), grown('hot')]
  return {
    ms,
    perSecond: (messages / ms) * 1000,
    nodeCpuUs: (node.user + node.system + othersMs * 1000) / messages,
    serverCpuUs:
      serverBefore === null || serverAfter === null ? null : ((serverAfter - serverBefore) * 1000) / messages,
    walBytes: each(grown('wal')),
    commits: each(grown('commits')),
    updates: each(updates),
    hotShare: updates === null || updates === 0 ? null : (hot ?? 0) / updates,
  }
}

interface Counters {
  readonly wal: number
  readonly commits: number
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

/** CPU that a process has used since it started, with its living children and those that have ended. */
export function cpuMs(pid: number): number | null {
  let ticks = 0
  try {
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue
      const stat = statOf(entry)
      if (stat === undefined) continue
      if (Number(entry) === pid) ticks += stat.own + stat.ofEnded
      else if (stat.parent === pid) ticks += stat.own
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

/** Without /proc what others used is not known, and not told. */
function sumOf(values: readonly (number | null)[]): number {
  return values.reduce<number>((sum, value) => sum + (value ?? 0), 0)
}
