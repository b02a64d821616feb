import type { Preparing, Queryable } from '../db/pool.ts'
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
type Answer = Record<string, unknown> &
  ({ inbox_id: null; seen: KeysSeen; slots: Slots | null } | ({ seen: null; slots: null } & SlotRow))
type Slots = Readonly<Record<string, readonly [number, number | null]>>

export interface SlotRequest {
  readonly source: string
  readonly instanceId: string
  readonly limit: number
  readonly maxAttempts: number
  readonly maxBytes: number
  readonly ordered: boolean
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
}

/** Claims what the slots of the keys along the way leave room for. */
export async function claimInSlots(
  db: Preparing,
  request: SlotRequest,
  { after, look, lock, keylessFirst }: SlotWalk,
): Promise<{ seen: KeysSeen; rows: SlotRow[] }> {
  const statement = request.ordered ? 'claim_in_order' : 'claim'
  const values = [...valuesOf(request, false), after, look, lock, keylessFirst]
  const answer = await db.prepared<Answer>(`tidemark_slots_${statement}`, sql[statement], values)
  const { seen, rows } = read(answer.rows)
  if (seen == null) throw new Error('claim did not say what it has seen')
  return { seen, rows }
}

/** Claims a suspect of this key, or one without a key. */
export async function claimSuspectInSlots(
  db: Preparing,
  request: SlotRequest,
  key: string | null,
): Promise<SlotRow[]> {
  const statement = request.ordered ? 'claim_suspect_in_order' : 'claim_suspect'
  const values = [...valuesOf(request, true), key]
  const answer = await db.prepared<Answer>(`tidemark_slots_${statement}`, sql[statement], values)
  return read(answer.rows).rows
}

function read(answer: readonly Answer[]): { seen: KeysSeen | undefined; rows: SlotRow[] } {
  const said = answer.find((row) => row.inbox_id === null)
  const rows: SlotRow[] = []
  for (const row of answer) {
    if (row.inbox_id === null) continue
    const slot = row.slot_key === null ? undefined : said?.slots?.[row.slot_key]
    rows.push(slot === undefined ? row : { ...row, in_use: slot[0], most: slot[1] })
  }
  return { seen: said?.seen, rows }
}

const valuesOf = (request: SlotRequest, suspects: boolean): unknown[] => [
  request.source,
  request.instanceId,
  request.limit,
  request.maxAttempts,
  request.maxBytes,
  suspects,
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

/** How many messages without a key a claim takes, and when. */
interface Keyless extends Record<string, string> {
  readonly keyless: string
  readonly keyless_turn: string
}

/** The statements of the file, put together: the two ways to claim, each by turn and in order. */
function withParts(parts: ReturnType<typeof load>) {
  const { bytes, slots } = parts
  const keylessSuspect = { keyless: parts.keyless_suspect, keyless_turn: '0::bigint' }
  const claim = (text: string, ordered: boolean, keyless: Keyless, more: Record<string, string>): string => {
    const pick = fillIdentifiers(ordered ? parts.pick_in_order : parts.pick, { bytes })
    return fillIdentifiers(text, {
      default: fillIdentifiers(parts.default, { in_order: String(ordered) }),
      most: ordered ? parts.most_in_order : parts.most,
      in_use: parts.in_use,
      take: fillIdentifiers(parts.take, { bytes, pick, ...keyless }),
      slots,
      ...more,
    })
  }
  const walking = (ordered: boolean): string =>
    claim(
      parts.claim,
      ordered,
      { keyless: parts.keyless, keyless_turn: parts.keyless_turn },
      {
        first_may: parts.first_may,
        order: ordered ? parts.in_order : parts.by_turn,
        due: ordered ? parts.due_in_order : parts.due,
      },
    )
  return {
    enter_default: parts.enter_default,
    enter_keys: parts.enter_keys,
    line_up: parts.line_up,
    claim: walking(false),
    claim_in_order: walking(true),
    claim_suspect: claim(parts.claim_suspect, false, keylessSuspect, {}),
    claim_suspect_in_order: claim(parts.claim_suspect, true, keylessSuspect, {}),
    suspect_keys: parts.suspect_keys,
  }
}

function load() {
  return loadStatements('slots', [
    'enter_default',
    'enter_keys',
    'line_up',
    'claim',
    'claim_suspect',
    'default',
    'first_may',
    'by_turn',
    'in_order',
    'due',
    'due_in_order',
    'most',
    'most_in_order',
    'in_use',
    'take',
    'slots',
    'keyless',
    'keyless_suspect',
    'keyless_turn',
    'bytes',
    'pick',
    'pick_in_order',
    'suspect_keys',
  ])
}
