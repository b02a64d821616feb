import { runPrepared } from '../db/pool.ts'
import type { MayPrepare, Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import type { Backend } from '../db/transaction.ts'
import { agoOf, claimEnd, endClaims } from './attempt.ts'
import type { Ended } from './attempt.ts'
import { storedIdSql } from './messageId.ts'

const sql = loadStatements('inbox', [
  'refused_as',
  'claim',
  'claim_suspect',
  'still_ours',
  'begun',
  'done',
  'done_first',
  'failed',
  'give_back',
  'locked',
  'give_back_strays',
  'floor',
  'reclaim',
  'in_work_of',
  'owners',
  'in_work_elsewhere',
  'announce',
])
const FAILED = claimEnd(sql.failed)
const GIVE_BACK = claimEnd(sql.give_back)
const GIVE_BACK_STRAYS = claimEnd(sql.give_back_strays)
const RECLAIM = claimEnd(sql.reclaim)

/** A message as a claim returns it. int8 columns are text. */
export interface ClaimedRow {
  readonly inbox_id: string
  readonly source: string
  readonly message_id: string
  readonly payload: unknown
  readonly group_key: string | null
  readonly claim: number
  /** This claim included, whether or not it is counted yet. */
  readonly attempts: number
  readonly max_attempts: number
  readonly interruptions_in_a_row: number
  readonly trace_id: string
  /** Found by its number, not among those that wait: it moves the low-water mark. */
  readonly fresh: boolean
  readonly source_created_at: string | null
  readonly age_ms: string
  /** Claimed under the slots of its key: how many are in use since, and the limit. */
  readonly in_use?: number | null
  readonly most?: number | null
}

/** The fence of one outcome: the message, and the number of our claim of it. */
export interface Claim {
  readonly inboxId: string
  readonly claim: number
}

export interface ClaimRequest {
  readonly sources: readonly string[]
  readonly instanceId: string
  readonly limit: number
  readonly low: string
  readonly maxAttempts: number
  readonly maxBytes: number
  /** More than can begin at once: attempts are counted when handlers have begun. Default: false. */
  readonly ahead?: boolean
  /**
   * Whether the claim must outlive a crash of the server. Otherwise a crash within the next half second may lose it, and then the
   * message is claimed again: no worse than a crash of this process. Not so where others count what is in work. Default: true.
   */
  readonly durable?: boolean
}

export async function claimMessages(db: MayPrepare, request: ClaimRequest): Promise<ClaimedRow[]> {
  const { sources, instanceId, limit, low, maxAttempts, maxBytes, ahead = false, durable = true } = request
  const values = [sources, instanceId, limit, low, maxAttempts, maxBytes, ahead, durable]
  return (await ask<ClaimedRow & Record<string, unknown>>(db, 'claim', values)).rows
}

/** A statement that runs many times a second. */
function ask<R extends Record<string, unknown>>(
  db: MayPrepare,
  statement: 'claim' | 'begun' | 'done' | 'done_first',
  values: readonly unknown[],
) {
  return runPrepared<R>(db, `tidemark_inbox_${statement}`, sql[statement], values)
}

/** Claims one suspect, if one waits: a message that was in work in a process that died. */
export async function claimSuspect(
  db: Queryable,
  { sources, instanceId, maxAttempts }: Pick<ClaimRequest, 'sources' | 'instanceId' | 'maxAttempts'>,
): Promise<ClaimedRow[]> {
  const values = [sources, instanceId, maxAttempts]
  return (await db.query<ClaimedRow & Record<string, unknown>>(sql.claim_suspect, values)).rows
}

const ids = (claims: readonly Claim[]): string[] => claims.map((claim) => claim.inboxId)
const numbers = (claims: readonly Claim[]): number[] => claims.map((claim) => claim.claim)

/** Of these claims, the messages that nobody has taken from us. */
export async function stillOurs(db: Queryable, claims: readonly Claim[]): Promise<Set<string>> {
  const { rows } = await db.query<{ inbox_id: string }>(sql.still_ours, [ids(claims), numbers(claims)])
  return new Set(rows.map((row) => row.inbox_id))
}

/** Of these messages, those whose rows somebody else has locked at this moment. */
export async function lockedByOthers(db: Queryable, claims: readonly Claim[]): Promise<Set<string>> {
  const { rows } = await db.query<{ inbox_id: string }>(sql.locked, [ids(claims)])
  return new Set(rows.map((row) => row.inbox_id))
}

/** Counts the attempts of messages that were claimed ahead and whose handlers have begun. */
export async function countBegun(
  db: MayPrepare,
  instanceId: string,
  claims: readonly Claim[],
): Promise<void> {
  await ask(db, 'begun', [instanceId, ids(claims), numbers(claims)])
}

/** Writes DONE where the claim is still ours; returns the messages for which it was. */
export async function writeDone(
  db: MayPrepare,
  instanceId: string,
  claims: readonly Claim[],
): Promise<Set<string>> {
  const values = [instanceId, ids(claims), numbers(claims)]
  type Answer = Record<string, unknown> &
    ({ all_of_them: true; inbox_ids: null } | { all_of_them: false; inbox_ids: string[] })
  const [answer] = (await ask<Answer>(db, 'done', values)).rows
  return new Set(answer?.all_of_them === true ? ids(claims) : answer?.inbox_ids)
}

/**
 * Writes DONE as the first statement of its handler's transaction, whose session may be idle for `idleMs` at a time from here on.
 * Resolves to the backend that has it; undefined: the claim is not ours.
 */
export async function writeDoneFirst(
  client: MayPrepare,
  instanceId: string,
  { inboxId, claim }: Claim,
  idleMs: number,
): Promise<Backend | undefined> {
  const values = [instanceId, inboxId, claim, `${idleMs}ms`]
  return (await ask<Backend & Record<string, unknown>>(client, 'done_first', values)).rows[0]
}

export interface Failure extends Claim, Ended {
  readonly error: string
  readonly waitMs: number
  /** It is DEAD, whatever attempts it has left. Default: false. */
  readonly final?: boolean
}

/** Writes FAILED, or DEAD after the last attempt, where the claim is still ours. */
export async function writeFailed(
  db: Queryable,
  instanceId: string,
  failures: readonly Failure[],
): Promise<Map<string, 'FAILED' | 'DEAD'>> {
  const { rows } = await endClaims<{ inbox_id: string; status: 'FAILED' | 'DEAD' }>(db, FAILED, [
    instanceId,
    ids(failures),
    numbers(failures),
    failures.map((failure) => failure.error),
    failures.map((failure) => failure.waitMs),
    failures.map((failure) => failure.final === true),
    ...agoOf(failures),
  ])
  return new Map(rows.map((row) => [row.inbox_id, row.status]))
}

/** So many interruptions in a row, drains left out, count as one attempt: nothing is interrupted for ever. */
export const INTERRUPTIONS_AN_ATTEMPT = 20

/** A claim that ended through no fault of its message. */
export interface Return extends Claim, Ended {
  /** How long it waits before the next claim. */
  readonly waitMs: number
  /** Whether it counts among the interruptions in a row: not when the handler never began, or for a drain. */
  readonly counts: boolean
  /** What interrupted it. Default: its last error stays what it was. */
  readonly error?: string | null
  /** Why, in words for the message's story. */
  readonly reason?: string
}

export interface GivenBack {
  readonly status: 'NEW' | 'FAILED' | 'DEAD'
  /** It was interrupted so often that this time its attempt counts. */
  readonly counted: boolean
}

/** Gives claims back, with their attempt or without; returns what became of those that were still ours. */
export async function giveBack(
  db: Queryable,
  instanceId: string,
  returns: readonly Return[],
): Promise<Map<string, GivenBack>> {
  const { rows } = await endClaims<{ inbox_id: string } & GivenBack>(db, GIVE_BACK, [
    instanceId,
    ids(returns),
    numbers(returns),
    returns.map((one) => one.waitMs),
    returns.map((one) => one.counts),
    INTERRUPTIONS_AN_ATTEMPT,
    returns.map((one) => one.error ?? null),
    returns.map((one) => one.reason ?? null),
    ...agoOf(returns),
  ])
  return new Map(rows.map(({ inbox_id, ...given }) => [inbox_id, given]))
}

/** Gives back what this instance has claimed and does not know of; returns how many. */
export async function giveBackStrays(
  db: Queryable,
  instanceId: string,
  sources: readonly string[],
  settled: string,
  known: readonly string[],
): Promise<number> {
  return (await endClaims(db, GIVE_BACK_STRAYS, [instanceId, sources, settled, known])).rowCount ?? 0
}

async function floor(db: Queryable): Promise<string> {
  return (await db.query<{ floor: string }>(sql.floor)).rows[0]?.floor ?? '0'
}

/** A message that was taken back, as it is now. */
export interface Reclaimed {
  readonly source: string
  readonly message_id: string
  readonly group_key: string | null
  /** Its key has slots. */
  readonly had_slot: boolean
  readonly trace_id: string
  readonly status: 'NEW' | 'FAILED' | 'DEAD'
  readonly attempts: number
  readonly max_attempts: number
  readonly last_error: string
}

/** Takes back what a dead or frozen instance had, at most `limit` messages of each kind. */
export async function reclaim(
  db: Queryable,
  instanceId: string,
  limit: number,
  frozen: boolean,
): Promise<Reclaimed[]> {
  const values = [instanceId, limit, frozen, await floor(db), INTERRUPTIONS_AN_ATTEMPT]
  return (await endClaims<Reclaimed & Record<string, unknown>>(db, RECLAIM, values)).rows
}

/** Whether an instance still has messages in work. */
export async function hasWork(db: Queryable, instanceId: string): Promise<boolean> {
  return (
    (await db.query<{ some: boolean }>(sql.in_work_of, [instanceId, await floor(db)])).rows[0]?.some === true
  )
}

/** Instances that have messages in work and no living record. */
export async function lostOwners(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ instance_id: string }>(sql.owners, [await floor(db)])
  return rows.map((row) => row.instance_id)
}

/** Whether another instance has messages of these sources in work. */
export async function inWorkElsewhere(
  db: Queryable,
  sources: readonly string[],
  instanceId: string,
  low: string,
): Promise<boolean> {
  const values = [sources, instanceId, low]
  return (await db.query<{ some: boolean }>(sql.in_work_elsewhere, values)).rows[0]?.some === true
}

/** Tells every instance that a source has fresh messages. */
export async function announceInserted(db: Queryable, source: string): Promise<void> {
  await db.query(sql.announce, [source])
}

const REFUSED_AS = fillIdentifiers(sql.refused_as, { stored_id: storedIdSql('$2', 'text') })

/** Under which id and trace a row was taken in as DEAD; undefined when the message is not there any more. */
export async function refusedAs(
  db: Queryable,
  poller: string,
  id: string,
): Promise<{ message_id: string; trace_id: string } | undefined> {
  return (await db.query<{ message_id: string; trace_id: string }>(REFUSED_AS, [poller, id])).rows[0]
}
