import type { PoolClient, Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import type { ClaimedRow } from './inbox.ts'

const sql = withParts(load())

/** What a source's config asks for. */
export interface SlotRules {
  /** Messages of one key in work at once; null: no limit. */
  readonly perKey: number | null
  /** Nothing of a key before its earlier messages are finished. */
  readonly ordered: boolean
}

/** Says for everybody what the config asks for. */
export async function enterDefault(
  db: Queryable,
  sources: readonly string[],
  { perKey, ordered }: SlotRules,
): Promise<void> {
  await db.query(sql.enter_default, [sources, perKey, ordered])
}

/** Gives keys their rows. What is in work already holds its slot. */
export async function enterKeys(db: Queryable, source: string, keys: readonly string[]): Promise<void> {
  await db.query(sql.enter_keys, [source, keys])
}

export interface LinedUp {
  readonly messages: number
  readonly last: string | null
  /** The newest message of all. */
  readonly head: string
  /** Some were left out because somebody else has their rows locked. */
  readonly passed: boolean
}

/** Lets messages be found by their key that came in otherwise, `limit` at most. */
export async function lineUp(
  db: Queryable,
  sources: readonly string[],
  low: string,
  limit: number,
): Promise<LinedUp> {
  const { rows } = await db.query<LinedUp & Record<string, unknown>>(sql.line_up, [sources, low, limit])
  const [row] = rows
  if (row === undefined) throw new Error('line_up returned no row')
  return row
}

/** What a walk along the keys of a source has found. */
export interface KeysFound {
  /** Keys that have something that waits. */
  readonly looked: number
  /** Where it stopped. */
  readonly last: string | null
  /** There are no more keys behind it. */
  readonly at_end: boolean
  /** Keys without a row. */
  readonly unknown: readonly string[]
  /** Keys with something to claim; those of them whose rows are locked now stand in `keys`. */
  readonly wanted: number
  readonly keys: readonly string[]
  readonly has_default: boolean
  /** Whoever started last asks for order. */
  readonly ordered: boolean
  /** Messages without a key are due. */
  readonly keyless: boolean
}

/** The transaction of a claim. */
export interface SlotClient {
  readonly client: PoolClient
  /**
   * Whether the session is ours: then its statements are prepared once, since planning them takes as long as a claim of a
   * few messages. Behind a transaction pooler the next one may meet a session that does not know them.
   */
  readonly prepared: boolean
}

async function rowsOf<R>(
  { client, prepared }: SlotClient,
  name: string,
  text: string,
  values: unknown[],
): Promise<R[]> {
  const named = prepared ? { name: `tidemark_slots_${name}` } : {}
  return (await client.query<R & Record<string, unknown>>({ ...named, text, values })).rows
}

/** Walks from key to key, and locks those that have something to claim until the end of the transaction. */
export async function lookForKeys(
  db: SlotClient,
  source: string,
  { after, look, lock, ordered }: { after: string | null; look: number; lock: number; ordered: boolean },
): Promise<KeysFound> {
  const statement = ordered ? 'look_in_order' : 'look'
  const [row] = await rowsOf<KeysFound>(db, statement, sql[statement], [source, after, look, lock])
  if (row === undefined) throw new Error('look_for_keys returned no row')
  return row
}

export interface SlotClaim {
  readonly source: string
  readonly instanceId: string
  readonly limit: number
  readonly maxAttempts: number
  readonly maxBytes: number
  /** Keys that this transaction has locked. */
  readonly keys: readonly string[]
  readonly keyless: number
  readonly suspects: boolean
  readonly ordered: boolean
}

/** `slot_key`: the name of its key in `slot_limit`. */
export interface SlotRow extends ClaimedRow {
  readonly slot_key: string | null
}

/** Claims what the slots of these keys leave room for. A later statement of the transaction that locked them. */
export async function claimInSlots(db: SlotClient, claim: SlotClaim): Promise<SlotRow[]> {
  const { source, instanceId, limit, maxAttempts, maxBytes, keys, keyless, suspects, ordered } = claim
  const values = [source, instanceId, limit, maxAttempts, maxBytes, keys, keyless, suspects]
  const statement = ordered ? 'claim_in_order' : 'claim'
  return rowsOf<SlotRow>(db, statement, sql[statement], values)
}

/** Where suspects wait that may be claimed. */
export interface SuspectKey {
  readonly source: string
  readonly group_key: string | null
}

export async function suspectKeys(
  db: Queryable,
  sources: readonly string[],
  ordered: boolean,
): Promise<SuspectKey[]> {
  return (await db.query<SuspectKey & Record<string, unknown>>(sql.suspect_keys, [sources, ordered])).rows
}

/** Locks these keys of a source, less those that somebody else has locked. */
export async function lockSuspects(
  db: Queryable,
  source: string,
  keys: readonly string[],
): Promise<string[]> {
  const { rows } = await db.query<{ group_key: string }>(sql.lock_suspects, [source, keys])
  return rows.map(({ group_key: key }) => key)
}

function withParts(parts: ReturnType<typeof load>) {
  const { look_for_keys: look, claim, bytes } = parts
  const pick = fillIdentifiers(parts.pick, { bytes })
  const pickInOrder = fillIdentifiers(parts.pick_in_order, { bytes })
  return {
    enter_default: parts.enter_default,
    enter_keys: parts.enter_keys,
    line_up: parts.line_up,
    look: fillIdentifiers(look, { first_may: parts.first_may, order: parts.by_turn, ready: parts.ready }),
    look_in_order: fillIdentifiers(look, {
      first_may: parts.first_may,
      order: parts.in_order,
      ready: parts.ready_in_order,
    }),
    claim: fillIdentifiers(claim, { bytes, pick, most: 'k.most' }),
    claim_in_order: fillIdentifiers(claim, { bytes, pick: pickInOrder, most: '1' }),
    suspect_keys: parts.suspect_keys,
    lock_suspects: parts.lock_suspects,
  }
}

function load() {
  return loadStatements('slots', [
    'enter_default',
    'enter_keys',
    'line_up',
    'look_for_keys',
    'first_may',
    'by_turn',
    'in_order',
    'ready',
    'ready_in_order',
    'claim',
    'bytes',
    'pick',
    'pick_in_order',
    'suspect_keys',
    'lock_suspects',
  ])
}
