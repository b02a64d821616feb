import { interval } from '../db/interval.ts'
import { runPrepared } from '../db/pool.ts'
import type { MayPrepare, Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import type { Attempt } from './jobRows.ts'

const sql = loadStatements('job_claim', [
  'claim',
  'settled',
  'held_by',
  'take_back',
  'count_gone',
  'forget_claims',
  'lost_owners',
  'due',
  'give_back_unclaimed',
])

/** Enters that an instance runs an attempt; false when the attempt is not active any more. */
export async function claimJob(
  db: MayPrepare,
  { queue, id, retryCount }: Attempt,
  instanceId: string,
): Promise<boolean> {
  const { rowCount } = await runPrepared(db, 'tidemark_claim_job', sql.claim, [
    queue,
    id,
    retryCount,
    instanceId,
  ])
  return rowCount === 1
}

/** Forgets claims of attempts that have ended here; returns those that are not settled yet. */
export async function forgetSettled<A extends Attempt>(
  db: Queryable,
  ended: readonly A[],
  instanceId: string,
): Promise<A[]> {
  const { rows } = await db.query<{ place: number }>(sql.settled, [
    ended.map(({ queue }) => queue),
    ended.map(({ id }) => id),
    ended.map(({ retryCount }) => retryCount),
    instanceId,
  ])
  const places = new Set(rows.map(({ place }) => place))
  return ended.filter((_, i) => places.has(i + 1))
}

export interface ClaimedAttempt extends Attempt {
  /** Processes in a row that died while they ran it. */
  readonly deaths: number
  /** Instances in a row that froze while they ran it. */
  readonly freezes: number
}

export async function selectHeldBy(db: Queryable, instanceId: string): Promise<ClaimedAttempt[]> {
  return (await db.query<ClaimedAttempt>(sql.held_by, [instanceId])).rows
}

/** Gives an attempt of an instance that is gone back; false when there was nothing to give back any more. */
export async function takeBackJob(
  db: Queryable,
  { queue, id, retryCount }: Attempt,
  instanceId: string,
  died: boolean,
): Promise<boolean> {
  return (await db.query(sql.take_back, [queue, id, retryCount, instanceId, died])).rowCount === 1
}

/** By who has failed the attempt for it. */
export async function countGone(
  db: Queryable,
  { queue, id, retryCount }: Attempt,
  instanceId: string,
  died: boolean,
): Promise<void> {
  await db.query(sql.count_gone, [queue, id, retryCount, instanceId, died])
}

export async function forgetClaims(db: Queryable): Promise<void> {
  await db.query(sql.forget_claims)
}

/** Owners of claims that nobody watches; never the one that asks. */
export async function lostJobOwners(db: Queryable, asking: string): Promise<string[]> {
  const { rows } = await db.query<{ owner: string }>(sql.lost_owners, [asking])
  return rows.map(({ owner }) => owner)
}

export interface QueueLook {
  readonly queue: string
  readonly due: boolean
  readonly unclaimed: boolean
}

export async function lookAtQueues(
  db: Queryable,
  queues: readonly string[],
  unclaimedMs: number,
): Promise<QueueLook[]> {
  return (await db.query<QueueLook>(sql.due, [queues, interval(unclaimedMs)])).rows
}

/** Returns how many attempts were given back that nobody had claimed for so long. */
export async function giveBackUnclaimed(db: Queryable, queue: string, unclaimedMs: number): Promise<number> {
  return (await db.query(sql.give_back_unclaimed, [queue, interval(unclaimedMs)])).rowCount ?? 0
}
