/**
 * The count at the end: what was committed against what became of it. Only SQL decides; nothing is taken from memory.
 */
import type { ResolvedConfig, ResolvedPoller, ResolvedProcessor } from '../config/resolved.ts'
import { quoteIdentifier, quoteQualified } from '../db/identifier.ts'
import type { Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'

const sql = loadStatements('rehearsal_count', [
  'rest',
  'missing',
  'statuses',
  'stuck',
  'given_up',
  'effects',
  'runs',
  'burned',
  'silence',
  'changes',
])

/** Messages by name are listed up to here; counts are whole. */
const NAMED = 10

/** How many, and the first of them by id. */
export interface Named {
  readonly count: number
  readonly first: readonly string[]
}

export interface GivenUp {
  readonly status: string
  readonly error: string | null
  readonly messages: number
  readonly example: string
}

export interface SourceCount {
  readonly poller: string
  /** As the config has it; what is handled in batches is external. */
  readonly contract: 'transactional' | 'external' | null
  readonly written: number
  readonly taken_in: number
  readonly done: number
  readonly dead: number
  readonly discarded: number
  /** Failed by themselves, and waiting for another try. */
  readonly retrying: number
  /** Committed and not in the inbox, neither finished nor waiting, or DONE without a run of the handler. */
  readonly lost: Named
  readonly doubled: Named
  /** External handlers: ran again after a kill or a drain that ended them, as their contract allows. */
  readonly run_again: Named
  /** Attempts that no failure of the handler and no end of its process explains. */
  readonly attempts_burned: Named
  readonly given_up: readonly GivenUp[]
  readonly passes: number
  readonly longest_silence_ms: number
  readonly every_ms: number
}

export interface LeaderChanges {
  readonly reason: string
  readonly changes: number
  readonly longest_ms: number | null
}

/** What is not settled yet. */
export interface Rest {
  readonly written: number
  readonly missing: number
  readonly open: number
  readonly retrying: number
}

/** The processor of each poller that has one. */
function processorOf(config: ResolvedConfig, poller: string): ResolvedProcessor | undefined {
  return config.processors.find(({ from }) => from.includes(poller))
}

export async function countRest(db: Queryable, config: ResolvedConfig): Promise<Rest> {
  const processed = config.processors.flatMap(({ from }) => from)
  const { rows } = await db.query<Rest & Record<string, unknown>>(sql.rest, [processed])
  const rest = rows[0] ?? { written: 0, missing: 0, open: 0, retrying: 0 }
  if (rest.missing === 0) return rest
  // A poller's condition may leave rows out, which this asks row by row.
  const missing = await Promise.all(config.pollers.map((poller) => missingOf(db, poller)))
  return { ...rest, missing: missing.reduce((sum, { count }) => sum + count, 0) }
}

export async function countSource(
  db: Queryable,
  config: ResolvedConfig,
  poller: ResolvedPoller,
  from: string,
  to: string,
): Promise<SourceCount> {
  const { name } = poller
  const kind = processorOf(config, name)?.work.kind ?? null
  type Statuses = Pick<SourceCount, 'written' | 'taken_in' | 'done' | 'dead' | 'discarded' | 'retrying'>
  const statuses = (await db.query<Statuses & Record<string, unknown>>(sql.statuses, [name])).rows[0]
  const missing = await missingOf(db, poller)
  const stuck = kind === null ? none : named(await ids(db, sql.stuck, name))
  const { unseen, doubled, runAgain } =
    kind === 'transactional' ? await effectsOf(db, name) : kind === null ? nothing : await runsOf(db, name)
  const givenUp = await db.query<GivenUp & Record<string, unknown>>(sql.given_up, [name])
  const silence = await db.query<{ passes: number; longest_ms: number }>(sql.silence, [name, from, to])
  return {
    poller: name,
    contract: kind === 'transactional' || kind === null ? kind : 'external',
    written: statuses?.written ?? 0,
    taken_in: statuses?.taken_in ?? 0,
    done: statuses?.done ?? 0,
    dead: statuses?.dead ?? 0,
    discarded: statuses?.discarded ?? 0,
    retrying: statuses?.retrying ?? 0,
    lost: joined(missing, stuck, unseen),
    doubled,
    run_again: runAgain,
    attempts_burned: named(await ids(db, sql.burned, name)),
    given_up: givenUp.rows,
    passes: silence.rows[0]?.passes ?? 0,
    longest_silence_ms: silence.rows[0]?.longest_ms ?? 0,
    every_ms: poller.everyMs,
  }
}

export async function countChanges(db: Queryable, from: string): Promise<LeaderChanges[]> {
  return (await db.query<LeaderChanges & Record<string, unknown>>(sql.changes, [from])).rows
}

async function missingOf(db: Queryable, { name, source }: ResolvedPoller): Promise<Named> {
  const text = fillIdentifiers(sql.missing, {
    table: quoteQualified(source.table),
    id: quoteIdentifier(source.id),
    where: source.where ?? 'true',
  })
  return named(await ids(db, text, name))
}

interface Runs {
  readonly unseen: Named
  readonly doubled: Named
  readonly runAgain: Named
}

async function effectsOf(db: Queryable, source: string): Promise<Runs> {
  const { rows } = await db.query<{ message_id: string; effects: number }>(sql.effects, [source])
  const of = (which: typeof rows): Named => named(which.map(({ message_id: id }) => id))
  // An effect of what is not DONE was committed without it: the next run makes it two.
  return {
    unseen: of(rows.filter(({ effects }) => effects === 0)),
    doubled: of(rows.filter(({ effects }) => effects > 0)),
    runAgain: none,
  }
}

async function runsOf(db: Queryable, source: string): Promise<Runs> {
  type Row = { message_id: string; runs: number; cut_off: boolean; interrupted: boolean }
  const { rows } = await db.query<Row>(sql.runs, [source])
  const of = (which: Row[]): Named => named(which.map(({ message_id: id }) => id))
  const again = rows.filter(({ runs }) => runs > 0)
  const explained = ({ cut_off: cutOff, interrupted }: Row): boolean => cutOff || interrupted
  return {
    unseen: of(rows.filter(({ runs }) => runs === 0)),
    doubled: of(again.filter((row) => !explained(row))),
    runAgain: of(again.filter(explained)),
  }
}

const none: Named = { count: 0, first: [] }
const nothing: Runs = { unseen: none, doubled: none, runAgain: none }

async function ids(db: Queryable, text: string, source: string): Promise<string[]> {
  const { rows } = await db.query<{ message_id: string }>(text, [source])
  return rows.map(({ message_id: id }) => id)
}

function named(all: readonly string[]): Named {
  return { count: all.length, first: all.slice(0, NAMED) }
}

function joined(...parts: readonly Named[]): Named {
  return {
    count: parts.reduce((sum, { count }) => sum + count, 0),
    first: parts.flatMap(({ first }) => first).slice(0, NAMED),
  }
}
