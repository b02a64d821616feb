/**
 * The demo's traffic: a writer that does what makes polling hard. Most transactions commit at once, some late (after
 * others that began later), some are rolled back. One instance of the cluster writes; when it leaves, another goes on.
 */
import { readFileSync } from 'node:fs'
import { sqlPath } from '../db/folder.ts'
import type { Pool, PoolClient } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import { withClient } from '../db/transaction.ts'
import { startLoop } from '../kit/loop.ts'
import { pause } from '../kit/pause.ts'
import { newTraceId } from '../telemetry/trace.ts'

const sql = loadStatements('demo_traffic', ['write', 'lock_traffic'])

/** One transaction in this many commits late; one in this many is rolled back. */
const LATE_ONE_IN = 10
const ROLLED_BACK_ONE_IN = 20
const LATE_MS = 3_000
/** Each late one holds a connection of the work pool, which handlers need too, however high the rate is. */
const LATE_AT_ONCE = 2
/** The same for a database that takes longer than the rate allows. */
const WRITES_AT_ONCE = 4

const CLINICS = ['north', 'south', 'east', 'west']
const PATIENTS = 50

const AGAIN_MS = 1_000

function pick(below: number): number {
  return Math.floor(Math.random() * below)
}

let late = 0

async function write(pool: Pool, stop: AbortSignal): Promise<void> {
  await withClient(pool, async (client) => {
    const clinic = CLINICS[pick(CLINICS.length)] ?? 'north'
    const payload = {
      patient_id: `${clinic}-${pick(PATIENTS)}`,
      decision: ['admit', 'refer', 'discharge'][pick(3)],
      score: pick(100),
      trace_id: newTraceId(),
    }
    await client.query('BEGIN')
    await client.query(sql.write, [clinic, JSON.stringify(payload)])
    if (pick(LATE_ONE_IN) === 0 && late < LATE_AT_ONCE) {
      late += 1
      await pause(Math.random() * LATE_MS, stop)
      late -= 1
    }
    await client.query(pick(ROLLED_BACK_ONE_IN) === 0 ? 'ROLLBACK' : 'COMMIT')
  })
}

/** Makes the demo's tables and begins to write `rate` messages a second; returns how to stop. */
export async function startDemo(pool: Pool, rate: number): Promise<() => Promise<void>> {
  await pool.query(readFileSync(sqlPath('demo/1_tables.sql'), 'utf8'))
  if (rate <= 0) return () => Promise.resolve()
  const stop = new AbortController()
  const writing = new Set<Promise<void>>()
  let lock: PoolClient | undefined

  const loop = startLoop({
    async body() {
      if (lock === undefined) {
        const client = await pool.connect()
        const { rows } = await client.query<{ mine: boolean }>(sql.lock_traffic)
        if (rows[0]?.mine !== true) {
          client.release()
          return AGAIN_MS
        }
        lock = client
        client.once('end', () => {
          lock = undefined
        })
      }
      if (writing.size >= WRITES_AT_ONCE + late) return 1_000 / rate
      const one = write(pool, stop.signal).catch(() => undefined) // the database is away: traffic pauses
      writing.add(one)
      void one.finally(() => writing.delete(one))
      return 1_000 / rate
    },
    onError: () => AGAIN_MS,
  })

  return async () => {
    stop.abort()
    await loop.stop()
    await Promise.all(writing)
    lock?.release(true)
  }
}
