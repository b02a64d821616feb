/**
 * The flag that says "this poller sleeps", which the insert trigger reads.
 *
 * A NOTIFY in every transaction would put all commits of the database in one line, so writers notify only while the poller
 * sleeps. A row that says so would be read as the writer's snapshot has it, at the insert: a transaction that inserted
 * before the flag was set and commits after the poller's last look would be announced by nobody. So the flag is a lock:
 *
 *   a writer, at its insert            tries to share the lock, without waiting, and keeps it until its end;
 *                                      it is refused: the poller sleeps, or is about to, and the writer notifies
 *   the poller, before its last look   takes the lock alone, and so waits for every writer that was silent
 *
 * What a silent writer wrote is there when the lock is got, and the look that follows sees it. Whoever inserts from the
 * moment of the poller's *waiting* on is refused, and notifies at its commit. There is no third kind, whatever the
 * isolation, savepoints (a lock goes with the savepoint that its row goes with) and prepared transactions (which keep it).
 *
 * States: *awake* (writers are silent; the poller looks by itself) ─▶ *falling* (waiting for silent writers) ─▶ *asleep*
 * ─▶ awake, when it is told, or when an insert has notified. The server owns the truth: the lock belongs to a session of its
 * own, which ends with the process, and nobody notifies for one that cannot hear.
 *
 * - *A writer stays for hours*: the poller waits for it, writers after it notify; each time the wait is broken off and
 *   begun again after the looks. A wait holds nothing back that the writer does not hold back itself.
 * - *A former leader is frozen, or its connection was lost in silence*: its session still has the lock. Every insert
 *   notifies, so none is missed; the new leader ends that session where it may.
 * - *The session breaks*: awake, without a word. Rows are found by the clock until the poller falls asleep again, after
 *   the next pass.
 * - *The trigger is not there*: the poller cannot sleep, and no session is kept.
 */
import type { Client } from 'pg'
import { closeClient, openClient } from '../db/connection.ts'
import type { SessionAddress } from '../db/connection.ts'
import type { Queryable } from '../db/pool.ts'
import { within } from '../kit/within.ts'
import { endFormerSleepers, leaveSleep, stopWaiting, takeSleep, wakeIsOn } from '../tables/wake.ts'

export interface SleeperOptions {
  readonly db: Queryable
  readonly session: SessionAddress
  readonly applicationName: string
  readonly connectTimeoutMs: number
  readonly poller: string
}

export interface Sleeper {
  /** True: asleep, and every silent writer has ended. False: it cannot sleep, or was woken while it waited. */
  fallAsleep(): Promise<boolean>
  /** Writers may be silent from now on. */
  wakeUp(): void
  /** Whether the lock is held and its session answers; wakes up when not. */
  isSound(): Promise<boolean>
  close(): Promise<void>
}

/** A statement on an idle session that takes longer has nobody to answer it. */
const ANSWER_MS = 5_000

/** Between two tries to break off a wait, and how many: then the session is given up. */
const BREAK_OFF_MS = 50
const BREAK_OFF_TRIES = 40

/** No limit: the wait ends with the writers, or is broken off. */
const LIMITS = { statementTimeoutMs: 0, lockTimeoutMs: 0, idleInTransactionMs: 0 }

/** No limit of the role's may end the session, or the wait. `idle_session_timeout` is not in PostgreSQL 13. */
const SESSION = `SELECT set_config(s.name, '0', false) FROM pg_catalog.pg_settings s
  WHERE s.name IN ('statement_timeout', 'lock_timeout', 'idle_session_timeout')`

interface Session {
  readonly client: Client
  readonly pid: number
}

export function createSleeper(options: SleeperOptions): Sleeper {
  const { db, poller } = options
  let state: 'awake' | 'falling' | 'asleep' = 'awake'
  let session: Session | undefined
  let closed = false
  /** Raised by whatever makes a wait that is under way obsolete. */
  let turn = 0
  /** The latest work on the session, and its breaking off: the next waits for both. */
  let busy: Promise<unknown> = Promise.resolve()
  const isClosed = (): boolean => closed

  function drop(broken: Session | undefined): void {
    if (broken === undefined || session !== broken) return
    session = undefined
    if (state === 'asleep') state = 'awake'
    void closeClient(broken.client)
  }

  async function open(): Promise<Session | undefined> {
    if (session !== undefined) return session
    if (!(await wakeIsOn(db, poller)) || isClosed()) return undefined
    const { applicationName, connectTimeoutMs } = options
    const holder: { session?: Session } = {}
    const client = await openClient(
      { ...options.session, applicationName, connectTimeoutMs, limits: LIMITS },
      () => drop(holder.session),
    )
    try {
      await client.query(SESSION)
      const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      holder.session = { client, pid: rows[0]?.pid ?? 0 }
      // A role that may not end them is told so by PostgreSQL; inserts then notify more often, and that is all.
      await endFormerSleepers(client, poller).catch(() => undefined)
    } catch (error) {
      await closeClient(client)
      throw error
    }
    if (isClosed()) {
      await closeClient(client)
      return undefined
    }
    session = holder.session
    return session
  }

  async function wait(mine: number): Promise<boolean> {
    const opened = await open()
    // Told to wake up while the session was being opened: there is nothing to break off.
    if (opened === undefined || turn !== mine) return false
    const held = await takeSleep(opened.client, poller).catch(() => false)
    // Broken off, the session lost, or the trigger gone: what has no lock need not be kept, and what may have it goes so.
    if (!held) drop(opened)
    // Got in the moment of the breaking off.
    else if (turn !== mine) await leave(opened)
    return held && turn === mine
  }

  async function leave(opened: Session): Promise<void> {
    await leaveSleep(opened.client, poller).catch(() => drop(opened))
  }

  /** The wait may not have reached the server yet, and would then not be found there. */
  async function breakOff(waiting: Session, wait: Promise<unknown>): Promise<void> {
    for (let tries = 1; tries <= BREAK_OFF_TRIES; tries += 1) {
      await stopWaiting(db, waiting.pid).catch(() => undefined)
      if (await within(BREAK_OFF_MS, wait)) return
    }
    drop(waiting)
  }

  return {
    async fallAsleep() {
      if (closed || state !== 'awake') return false
      state = 'falling'
      const mine = ++turn
      const attempt = busy.then(() => turn === mine && wait(mine)).catch(() => false)
      busy = attempt
      const got = await attempt
      if (turn === mine) state = got ? 'asleep' : 'awake'
      return got
    },
    wakeUp() {
      if (state === 'awake') return
      turn += 1
      const was = state
      state = 'awake'
      if (session !== undefined) busy = was === 'asleep' ? leave(session) : breakOff(session, busy)
    },
    async isSound() {
      if (state !== 'asleep' || session === undefined) return false
      const asked = session
      const answer = asked.client.query('SELECT 1').then(
        () => true,
        () => false,
      )
      const sound = (await within(ANSWER_MS, answer)) && (await answer) && (await wakeIsOn(db, poller))
      if (!sound) drop(asked)
      return sound
    },
    async close() {
      closed = true
      turn += 1
      const open = session
      const waits = state === 'falling'
      state = 'awake'
      session = undefined
      if (open === undefined) return
      // The server would wait on for a client that is gone.
      if (waits) await breakOff(open, busy)
      await closeClient(open.client)
    },
  }
}
