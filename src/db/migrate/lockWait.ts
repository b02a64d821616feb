/**
 * How a file waits for the lock of a table that is in use.
 *
 * Whoever waits for it holds up everybody who comes after, readers too: while an ALTER TABLE of the inbox waits, nothing
 * is claimed and nothing taken in. Yet wait it must: every handler's transaction holds the inbox, and as one ends the
 * next begins, so that only behind somebody who waits there comes a moment without any. Therefore:
 *
 *     try: wait up to 5 s ──got it──▶ done
 *       │ not got: it is said who has it
 *       ├─ a transaction of Tidemark ──1 s──▶ try again, waiting twice as long: 10, 20, 40, 80 s
 *       └─ anybody else, or one that is older than that already
 *             └─ asks for nothing until that transaction has ended ──▶ try again, waiting twice as long
 *                  └─ not ended within MIGRATION_LOCK_WAIT_SECONDS ──▶ given up, as busy
 *
 * - *Handlers of 12 s*: at the third try new ones wait until the old ones have ended. Measured with ten at once: 31 s in
 *   all, most of it waiting, claims too; ten tries of 5 s each met no such moment.
 * - *A transaction that somebody forgot*: no wait brings its end nearer, so it costs the others 5 s a run; an instance
 *   that cannot do without the file runs every 36 s.
 * - *The files run again by --repair*: they ask for such a lock only when something is missing (see those that make
 *   indexes and columns), so nobody waits for them.
 */
import type { Client } from 'pg'
import { MigrationFailed } from '../../errors.ts'
import { pause } from '../../kit/pause.ts'
import { cleanError } from '../../telemetry/errorText.ts'
import type { Log } from '../../telemetry/log.ts'
import { blockerFields, describeBlocker, findBlocker, isOver, watchBlocker } from '../blocker.ts'
import type { Blocker } from '../blocker.ts'
import type { Queryable } from '../pool.ts'
import { isRetryable } from '../sqlstate.ts'
import { setLimits } from './session.ts'
import type { FileLimits } from './session.ts'

export interface LockWait {
  /** Of the first try. */
  readonly limits: FileLimits
  /** Another connection, to see who is in the way of the one that waits. */
  readonly lookout: Queryable
  /** Name of the connection that waits. */
  readonly applicationName: string
  /** How long to wait for a transaction to end before the next try. */
  readonly holdOffMs: number
  readonly log: Pick<Log, 'event'>
  readonly signal?: AbortSignal | undefined
}

const TRIES = 5
const TRY_AGAIN_MS = 1_000

/** A wait for a lock that takes the whole limit of a statement would leave no time for what it was waited for. */
const SHARE_OF_STATEMENT = 2 / 3

/** Seldom, for the looks lock the table of locks for a moment; twice in a try at least. */
const LOOK_EVERY_MS = 500

/** Runs a file; one that met a lock, a deadlock or a conflict is run again. Throws what `run` throws last. */
export async function throughLocks(
  client: Client,
  wait: LockWait,
  run: (limits: FileLimits) => Promise<void>,
): Promise<void> {
  const { limits, lookout, applicationName } = wait
  const longestMs = Math.min(
    limits.lockTimeoutMs * 2 ** (TRIES - 1),
    limits.statementTimeoutMs * SHARE_OF_STATEMENT,
  )
  for (let attempt = 1; ; attempt += 1) {
    const lockTimeoutMs = Math.round(Math.min(limits.lockTimeoutMs * 2 ** (attempt - 1), longestMs))
    await setLimits(client, { ...limits, lockTimeoutMs })
    const look = () => findBlocker(lookout, applicationName)
    const watch = watchBlocker(look, Math.min(LOOK_EVERY_MS, lockTimeoutMs / 3))
    const startedAt = performance.now()
    try {
      await run({ ...limits, lockTimeoutMs })
      return
    } catch (error) {
      if (!isRetryable(error)) throw error
      const blocker = watch.seen
      const passing = blocker === undefined || isPassing(blocker, longestMs)
      const last = attempt >= TRIES || wait.signal?.aborted === true
      say(wait, error, blocker, Math.round(performance.now() - startedAt), last ? null : passing)
      if (last || !(passing ? await shortly(wait) : await onceOver(wait, blocker)))
        throw explained(error, blocker)
    } finally {
      watch.stop()
    }
  }
}

/** Whether it will have ended within the longest try, as far as can be told: a handler's does, by its limit. */
function isPassing({ ours, ageS }: Blocker, longestMs: number): boolean {
  return ours && (ageS ?? 0) * 1_000 < longestMs
}

async function shortly({ signal }: LockWait): Promise<boolean> {
  await pause(TRY_AGAIN_MS, signal)
  return true
}

/** Whether it ended in time; never of one without a name, which nobody can see end. */
async function onceOver(
  { lookout, holdOffMs, signal }: LockWait,
  { transaction }: Blocker,
): Promise<boolean> {
  const deadline = performance.now() + holdOffMs
  while (signal?.aborted !== true && performance.now() < deadline) {
    await pause(Math.min(TRY_AGAIN_MS, holdOffMs), signal)
    if (transaction !== null && (await isOver(lookout, transaction))) return true
  }
  return false
}

function say(
  { log }: LockWait,
  error: unknown,
  blocker: Blocker | undefined,
  waitedMs: number,
  passing: boolean | null,
): void {
  const file = error instanceof MigrationFailed ? error.file : null
  const why = blocker === undefined ? cleanError(error).text : describeBlocker(blocker)
  const then =
    passing === null
      ? 'given up'
      : passing
        ? 'tried again, waiting longer'
        : 'tried again once that has ended'
  const nobody = { pid: null, application: null, age_s: null, how_to_end: null }
  log.event('migration_lock_busy', `${file ?? 'the migration'} waited for ${waitedMs} ms: ${why}; ${then}`, {
    ...(blocker === undefined ? nobody : blockerFields(blocker)),
    file,
    waited_ms: waitedMs,
  })
}

function explained(error: unknown, blocker: Blocker | undefined): unknown {
  if (blocker === undefined || !(error instanceof MigrationFailed)) return error
  return new MigrationFailed(error.file, describeBlocker(blocker), error.cause)
}
