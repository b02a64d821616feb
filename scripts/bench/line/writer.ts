import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import type { BenchServer } from '../server.ts'
import { lineSql } from './statements.ts'

/** Writers that keep to a schedule, whatever becomes of what they write. */
export interface Writers {
  /** Writes `rate` rows a second for so many seconds. */
  write(rate: number, seconds: number): Promise<Written>
  close(): Promise<void>
}

export interface Written {
  readonly rows: number
  /** What was reached; less than was asked for when commits were slower than the schedule for long. */
  readonly perSecond: number
  /** How late statements were sent, in milliseconds, at the 99th percentile. */
  readonly late99Ms: number
}

/** Small transactions of a program with some traffic: several clients, a few rows a commit. */
export const SHAPE = { clients: 4, rowsPerCommit: 10 }

/**
 * The schedule is fixed before the first row: commit n falls due at n × gap after the start, and a commit that takes long
 * makes the next ones late and none of them fewer. So a slow moment meets as many rows as it would in life.
 */
export async function openWriters(server: BenchServer): Promise<Writers> {
  const clients = Array.from(
    { length: SHAPE.clients },
    () => new Client({ connectionString: server.url, application_name: 'bench-writer' }),
  )
  await Promise.all(clients.map((client) => client.connect()))
  return {
    async write(rate, seconds) {
      const commits = Math.max(1, Math.round((rate * seconds) / SHAPE.rowsPerCommit))
      const gapMs = (SHAPE.rowsPerCommit / rate) * 1000
      const late = new Float64Array(commits)
      const startedAt = performance.now()
      let next = 0
      await Promise.all(
        clients.map(async (client) => {
          while (next < commits) {
            const turn = next
            next += 1
            const dueAt = startedAt + turn * gapMs
            // Timers are of whole milliseconds, and never early.
            const wait = dueAt - performance.now()
            if (wait >= 1) await pause(wait)
            late[turn] = Math.max(0, performance.now() - dueAt)
            const values = [turn * SHAPE.rowsPerCommit, SHAPE.rowsPerCommit]
            await client.query({ name: 'write', text: lineSql('write'), values })
          }
        }),
      )
      const tookMs = Math.max(performance.now() - startedAt, commits * gapMs)
      const rows = commits * SHAPE.rowsPerCommit
      late.sort()
      return {
        rows,
        perSecond: (rows / tookMs) * 1000,
        late99Ms: late[Math.min(commits - 1, Math.floor(commits * 0.99))] ?? 0,
      }
    },
    async close() {
      await Promise.all(clients.map((client) => client.end()))
    },
  }
}
