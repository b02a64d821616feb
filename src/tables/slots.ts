import type { Preparing, Queryable } from '../db/pool.ts'
import type { ClaimedRow } from './inbox.ts'
import { slotStatements } from './slotStatements.ts'

const sql = slotStatements()

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

/** As `enterDefault`, for an instance that knows nothing of numbers and has ended since. */
export async function trustNumbers(db: Queryable, sources: readonly string[]): Promise<void> {
  await db.query(sql.trust_numbers, [sources])
}

/** By source: messages above this number that are not lined up are in its order; null: none are. */
export async function byNumberAbove(
  db: Queryable,
  sources: readonly string[],
): Promise<Map<string, string | null>> {
  const { rows } = await db.query<{ source: string; above: string | null }>(sql.by_number_above, [sources])
  return new Map(rows.map(({ source, above }) => [source, above]))
}

/** Gives keys their rows. What is in work already holds its slot, lined up or above the settled mark. */
export async function enterKeys(
  db: Queryable,
  source: string,
  keys: readonly string[],
  settled: string,
): Promise<void> {
  await db.query(sql.enter_keys, [source, keys, settled])
}

export interface LinedUp {
  /** Found; when there were `limit` of them there may be more. */
  readonly messages: number
  /** The newest message of all. */
  readonly head: string
  /** Some were left out because somebody else has their rows locked. */
  readonly passed: boolean
}

/** Which messages are lined up. */
export interface Unlined {
  readonly above: string
  /** null: up to the newest. */
  readonly upTo: string | null
  readonly limit: number
  readonly inWork: boolean
}

/** Lets messages be found by their key that are not. */
export async function lineUp(
  db: Queryable,
  source: string,
  { above, upTo, limit, inWork }: Unlined,
): Promise<LinedUp> {
  const values = [source, above, upTo, limit, inWork]
  const { rows } = await db.query<LinedUp & Record<string, unknown>>(sql.line_up, values)
  const [row] = rows
  if (row === undefined) throw new Error('line_up returned no row')
  return row
}

/** What a claim has met on its walk along the keys of a source. */
export interface KeysSeen {
  /** Keys that have something that waits. */
  readonly looked: number
  /** Where it stopped. */
  readonly last: string | null
  /** There are no more keys behind it. */
  readonly at_end: boolean
  /** Keys without a row. */
  readonly unknown: readonly string[]
  /** Keys with something to claim; those of them whose rows are ours, and were not written since, stand in `keys`, in turn. */
  readonly wanted: number
  readonly keys: readonly string[]
  readonly has_default: boolean
  /** Whoever started last asks for order. */
  readonly ordered: boolean
}

/** `slot_key`: the name of its key in `slot_limit`; null where it has none. */
export interface SlotRow extends ClaimedRow {
  readonly slot_key: string | null
}

/** One row has no message: what the walk has seen, and of each key that was claimed from what is in use, and the limit. */
type Answer<Seen> = Record<string, unknown> &
  ({ inbox_id: null; seen: Seen; slots: Slots | null } | ({ seen: null; slots: null } & SlotRow))
type Slots = Readonly<Record<string, readonly [number, number | null]>>

export interface SlotRequest {
  readonly source: string
  readonly instanceId: string
  readonly limit: number
  readonly maxAttempts: number
  readonly maxBytes: number
  readonly ordered: boolean
  /** More than can begin at once: attempts are counted when handlers have begun. Default: false. */
  readonly ahead?: boolean
}

/** Where a claim goes along the keys. */
export interface SlotWalk {
  /** Behind this key; null: from the first one on. */
  readonly after: string | null
  /** Keys looked at, at most. */
  readonly look: number
  /** Keys claimed from, at most. */
  readonly lock: number
  /** Messages without a key come first, and get the larger half. */
  readonly keylessFirst: boolean
  /** In order: nothing that is not lined up is open at or below it. */
  readonly low: string
}

/** What a claim has met among the messages that are not lined up. */
export interface NumbersSeen {
  readonly looked: number
  /** The greatest number looked at. */
  readonly last: string | null
  /** The least number that was not claimed. */
  readonly left: string | null
  /** How many of them had room. */
  readonly room: number
  readonly unknown: readonly string[]
  readonly above: string | null
  /** The whole source is. */
  readonly paused: boolean
  readonly has_default: boolean
  readonly ordered: boolean
}

/** Where a claim goes along the numbers. */
export interface NumberWalk {
  readonly above: string
  /** Messages looked at, at most. */
  readonly look: number
  /** Of those that have room, as many are tried, the others left for the next claim. */
  readonly tried: number
  readonly keylessFirst: boolean
}

/** Claims what is not lined up, as far as its keys have room. In order, nothing may be open at or below `above` that is not lined up. */
export async function claimByNumber(
  db: Preparing,
  request: SlotRequest,
  { above, look, tried, keylessFirst }: NumberWalk,
): Promise<{ seen: NumbersSeen; rows: SlotRow[] }> {
  const statement = request.ordered ? 'claim_by_number_in_order' : 'claim_by_number'
  const values = [...valuesOf(request), above, look, tried, keylessFirst, request.ahead === true]
  const answer = await db.prepared<Answer<NumbersSeen>>(`tidemark_slots_${statement}`, sql[statement], values)
  const { seen, rows } = read(answer.rows)
  if (seen == null) throw new Error('claim_by_number did not say what it has seen')
  return { seen, rows }
}

/** Claims what the slots of the keys along the way leave room for. */
export async function claimInSlots(
  db: Preparing,
  request: SlotRequest,
  { after, look, lock, keylessFirst, low }: SlotWalk,
): Promise<{ seen: KeysSeen; rows: SlotRow[] }> {
  const statement = request.ordered ? 'claim_in_order' : 'claim'
  const values = [...valuesOf(request), false, after, look, lock, keylessFirst]
  if (request.ordered) values.push(low)
  values.push(request.ahead === true)
  const answer = await db.prepared<Answer<KeysSeen>>(`tidemark_slots_${statement}`, sql[statement], values)
  const { seen, rows } = read(answer.rows)
  if (seen == null) throw new Error('claim did not say what it has seen')
  return { seen, rows }
}

/** Claims a suspect of this key, or one without a key; `low` as for {@link SlotWalk}. */
export async function claimSuspectInSlots(
  db: Preparing,
  request: SlotRequest,
  key: string | null,
  low: string,
): Promise<SlotRow[]> {
  const statement = request.ordered ? 'claim_suspect_in_order' : 'claim_suspect'
  const values = [...valuesOf(request), true, key]
  if (request.ordered) values.push(low)
  const answer = await db.prepared<Answer<null>>(`tidemark_slots_${statement}`, sql[statement], values)
  return read(answer.rows).rows
}

/** In order, what was claimed has the one slot of its key. */
const ONE_IN_ORDER = [1, 1] as const

function read<Seen>(answer: readonly Answer<Seen>[]): { seen: Seen | undefined; rows: SlotRow[] } {
  const said = answer.find((row) => row.inbox_id === null)
  const rows: SlotRow[] = []
  for (const row of answer) {
    if (row.inbox_id === null) continue
    const [in_use, most] = row.slot_key === null ? [] : (said?.slots?.[row.slot_key] ?? ONE_IN_ORDER)
    rows.push(Object.assign(row, { in_use, most })) // a copy of each is a microsecond
  }
  return { seen: said?.seen, rows }
}

const valuesOf = (request: SlotRequest): unknown[] => [
  request.source,
  request.instanceId,
  request.limit,
  request.maxAttempts,
  request.maxBytes,
]

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
