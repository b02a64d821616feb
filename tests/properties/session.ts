import { Client } from 'pg'
import type { Queryable } from '../../src/db/pool.ts'

/**
 * One connection that the scheduler steps: at most one statement is under way, and the scheduler may go on while it
 * waits for a lock.
 */
export class Session {
  readonly name: string
  readonly client: Client
  pid = 0
  /** It was last seen to wait for a lock. */
  waits = false
  #pending: Promise<void> | undefined
  #failure: Error | undefined

  private constructor(name: string, url: string) {
    this.name = name
    this.client = new Client({ connectionString: url, application_name: `property:${name}` })
    // The faults that tests make end connections; the statement under way says so.
    this.client.on('error', () => undefined)
  }

  static async open(name: string, url: string): Promise<Session> {
    const session = new Session(name, url)
    await session.client.connect()
    const { rows } = await session.client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    session.pid = rows[0]?.pid ?? 0
    return session
  }

  get busy(): boolean {
    return this.#pending !== undefined
  }

  /** Settles when the statement under way has ended, at once when there is none. Never rejects. */
  get settled(): Promise<void> {
    return this.#pending ?? Promise.resolve()
  }

  /** Sends one statement and comes back at once; `done` runs when it has ended. */
  start<T>(statement: (db: Queryable) => Promise<T>, done: (result: T) => void = () => undefined): void {
    if (this.busy) throw new Error(`${this.name} has a statement under way`)
    this.waits = false
    this.#pending = statement(this.client)
      .then(done)
      .catch((error: unknown) => {
        this.#failure ??= error instanceof Error ? error : new Error(String(error))
      })
      .finally(() => {
        this.#pending = undefined
        this.waits = false
      })
  }

  /** Sends one message of the simple protocol, which may hold several statements. */
  send(text: string, done?: () => void): void {
    this.start((db) => db.query(text), done)
  }

  /** Throws what a statement failed with: in these schedules none does. */
  check(): void {
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw new Error(`${this.name}: ${failure.message}`, { cause: failure })
  }

  async close(): Promise<void> {
    await this.client.end()
  }
}

/** How long a statement may take before we look whether it waits for a lock. Most end within one. */
const PATIENCE_MS = 4
/** Nothing here takes a second; past this the schedule itself is wrong. */
const STUCK_MS = 30_000

/**
 * Waits until every statement under way has ended or waits for a lock, so that a seed decides the same on a fast and
 * on a slow machine. A lock that was given back is granted before its holder hears of its COMMIT, so a statement that
 * can go on is never taken for one that waits.
 */
export async function settle(admin: Client, sessions: readonly Session[]): Promise<void> {
  const deadline = performance.now() + STUCK_MS
  for (;;) {
    const pending = sessions.filter((session) => session.busy)
    if (pending.length === 0) break
    const moving = pending.filter((session) => !session.waits)
    if (moving.length > 0) await soon(Promise.all(moving.map((session) => session.settled)))
    const still = pending.filter((session) => session.busy)
    if (still.length === 0) continue
    const { rows } = await admin.query<{ pid: number }>(
      'SELECT DISTINCT pid FROM pg_locks WHERE NOT granted AND pid = ANY ($1::integer[])',
      [still.map((session) => session.pid)],
    )
    const waiting = new Set(rows.map((row) => row.pid))
    for (const session of still) session.waits = session.busy && waiting.has(session.pid)
    // One that ended while we looked may be what another was seen to wait for: look again.
    if (still.every((session) => session.waits)) break
    if (performance.now() > deadline) throw new Error(`stuck: ${still.map((one) => one.name).join(', ')}`)
  }
  for (const session of sessions) session.check()
}

async function soon(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, PATIENCE_MS)
  })
  await Promise.race([work, patience])
  clearTimeout(timer)
}
