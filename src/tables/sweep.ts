import type { Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import { nextOf, takeInSql } from './takeIn.ts'
import type { TakeInSql, Walk } from './takeIn.ts'
import type { AloneRow } from './watermark.ts'

const sql = loadStatements('sweep', ['begin', 'ask', 'asked', 'page', 'next_id'])

/** The statements of a sweep over one source. */
export interface SweepSql {
  readonly page: Readonly<Record<Walk, string>>
  readonly refuse: Readonly<Record<Walk, string>>
  readonly nextId: Readonly<Record<Walk, string>>
}

/** `refused`: the parts that take a row in as DEAD, without its payload. */
export function sweepStatements(parts: TakeInSql, refused: TakeInSql): SweepSql {
  const both = (text: (walk: Walk) => string): Record<Walk, string> => ({
    dated: text('dated'),
    undated: text('undated'),
  })
  const page = (of: TakeInSql) => (walk: Walk) => fillIdentifiers(sql.page, { take_in: takeInSql(of, walk) })
  return {
    page: both(page(parts)),
    refuse: both(page(refused)),
    nextId: both((walk) => nextOf(sql.next_id, parts, walk)),
  }
}

/** Names the sweeper in every statement: each page raises it, and one with an older number is refused. */
export interface SweepTurn {
  readonly turn: string
  /** It is among the rows without a time. */
  readonly undated: boolean
}

/** Goes on with the sweep under way, or begins one. Whoever was sweeping is refused from now on. Undefined: it is paused. */
export async function beginSweep(
  db: Queryable,
  poller: string,
  canBeUndated: boolean,
): Promise<SweepTurn | undefined> {
  const values = [poller, canBeUndated]
  return (await db.query<SweepTurn & Record<string, unknown>>(sql.begin, values)).rows[0]
}

/** Notes that a sweep is wanted which begins after now. */
export async function askForSweep(db: Queryable, poller: string): Promise<void> {
  await db.query(sql.ask, [poller])
}

/** Somebody asked for another sweep since the newest began. */
export async function isSweepAsked(db: Queryable, poller: string): Promise<boolean> {
  return (await db.query<{ again: boolean }>(sql.asked, [poller])).rows[0]?.again === true
}

export interface SweepPage extends SweepTurn {
  readonly rows: number
  readonly inserted: number
  /** Time of the oldest row found; null: none has one. */
  readonly oldest: string | null
  readonly example: string | null
  /** The sweep is not through. */
  readonly more: boolean
  /** Of the whole sweep so far. */
  readonly looked: number
  readonly found: number
  readonly sinceMs: number
  /** It looks at the rows from here up to there. */
  readonly low: string
  readonly high: string
}

interface PageRow extends SweepTurn, Record<string, unknown> {
  readonly n: string
  readonly inserted: string
  readonly oldest: string | null
  readonly example: string | null
  readonly more: boolean
  readonly looked: string
  readonly found: string
  readonly since_ms: string
  readonly low: string
  readonly high: string
}

/** Takes in one page's missing rows. Undefined: somebody else sweeps, it is paused, or its rows are not there. */
export async function sweepPage(
  db: Queryable,
  statement: string,
  poller: string,
  turn: string,
  pageSize: number,
  maxAttempts: number,
  alone: AloneRow | null,
): Promise<SweepPage | undefined> {
  const values = [poller, pageSize, maxAttempts, alone?.refusal ?? null, alone?.id ?? null, turn]
  const [row] = (await db.query<PageRow>(statement, values)).rows
  if (row === undefined) return undefined
  return {
    turn: row.turn,
    undated: row.undated,
    rows: Number(row.n),
    inserted: Number(row.inserted),
    oldest: row.oldest,
    example: row.example,
    more: row.more,
    looked: Number(row.looked),
    found: Number(row.found),
    sinceMs: Number(row.since_ms),
    low: row.low,
    high: row.high,
  }
}

/** Which row the next page would begin with; undefined: there is none, or somebody else sweeps. */
export async function sweepNextId(
  db: Queryable,
  statement: string,
  poller: string,
  turn: string,
): Promise<string | undefined> {
  return (await db.query<{ id: string }>(statement, [poller, turn])).rows[0]?.id
}
