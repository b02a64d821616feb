/**
 * A baseline, for comparison only: the poller that teams write first. One leader by an advisory lock reads on from a
 * cursor `(created_at, id)` every second and runs a handler for each row. See its settings in program.ts.
 *
 * It is careful where most are: it looks at its lock before each row, keeps microseconds, and outlives a lost database.
 */
import { Client, Pool } from 'pg'
import { pause } from '../../../src/kit/pause.ts'
import { SOURCES } from '../config.ts'
import { databaseUrl, inside, outside, say } from './handler.ts'
import type { Row } from './handler.ts'

const EVERY_MS = 1_000
const PAGE = 500
const ATTEMPTS = 20
const AGAIN_MS = 100

const me = `naive:${process.pid}`
const pool = new Pool({ connectionString: databaseUrl(), application_name: me, max: 5 })
pool.on('error', () => undefined)
const stopping = new AbortController()
let lock: Client | undefined

/** Whether the lock is ours; tries to get it. */
async function leads(): Promise<boolean> {
  if (lock !== undefined) return true
  const client = new Client({ connectionString: databaseUrl(), application_name: me })
  client.on('error', () => {
    if (lock === client) lock = undefined
  })
  await client.connect()
  const { rows } = await client.query<{ taken: boolean }>(
    `SELECT pg_try_advisory_lock(hashtext('naive poller')) AS taken`,
  )
  if (rows[0]?.taken === true) lock = client
  else await client.end()
  return lock !== undefined
}

async function poll(source: string): Promise<void> {
  for (;;) {
    const { rows } = await pool.query<Row>(
      `SELECT s.id::text AS id, s.at::text AS at, s.payload FROM ${source} s, naive_cursor c
        WHERE c.poller = $1 AND (s.at, s.id) > (c.at, c.id) ORDER BY s.at, s.id LIMIT ${PAGE}`,
      [source],
    )
    let last: Row | undefined
    for (const row of rows) {
      if (lock === undefined) return
      if (stopping.signal.aborted) break
      await handle(source, row)
      last = row
    }
    if (last !== undefined)
      await pool.query('UPDATE naive_cursor SET at = $2, id = $3 WHERE poller = $1', [
        source,
        last.at,
        last.id,
      ])
    if (rows.length < PAGE || stopping.signal.aborted) return
  }
}

async function handle(source: string, row: Row): Promise<void> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    try {
      if (source === 'calls') await outside(source, row, attempt)
      else await inTransaction(source, row, attempt)
      return
    } catch (error) {
      say(me, 'failed', `${source} ${row.id}: ${String(error)}`)
      await pause(AGAIN_MS)
    }
  }
}

async function inTransaction(source: string, row: Row, attempt: number): Promise<void> {
  const client = await pool.connect()
  client.on('error', () => undefined)
  let failed = true
  try {
    await client.query('BEGIN')
    await inside(source, row, attempt, (text, values) => client.query(text, values))
    await client.query('COMMIT')
    failed = false
  } finally {
    client.removeAllListeners('error')
    client.release(failed)
  }
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopping.abort())
say(me, 'ready', 'ready')
while (!stopping.signal.aborted) {
  try {
    if (await leads()) for (const source of SOURCES) await poll(source)
  } catch (error) {
    say(me, 'failed', String(error))
  }
  await pause(EVERY_MS, stopping.signal)
}
await lock?.end().catch(() => undefined)
await pool.end()
