/** One instance's claims in the schedules of slots, in steps: what it saw when it began, and where its statement stops. */
import assert from 'node:assert/strict'
import type { Client, Pool } from 'pg'
import type { Preparing } from '../../src/db/pool.ts'
import type { ClaimedRow } from '../../src/tables/inbox.ts'
import { lineUp } from '../../src/tables/slots.ts'
import type { Random } from './random.ts'

export const SOURCE = 'bag'

/** Changes the text of statements; most leave some as they are. */
export type Edit = (text: string) => string

export interface Claimer {
  readonly name: string
  readonly client: Client
  /** Its advisory lock. */
  readonly gate: number
  /** `began`: it stands at the gate, or has found nothing to claim. `waits`: it went on, and waits for somebody's lock. */
  phase: 'idle' | 'began' | 'waits' | 'took'
  claiming: Promise<void>
  /** What it could see when it began: open messages, and what was in force of each key. */
  open: readonly string[]
  force: ReadonlyMap<string, Force>
  unknown: readonly string[]
  rows: readonly ClaimedRow[]
  /** Where its looks by number begin: when it is committed, and now. */
  low: string
  lowNow: string
}

export interface Force extends Record<string, unknown> {
  readonly key: string
  readonly most: number
  readonly paused: boolean
}

export const newClaimer = (client: Client, number: number): Claimer => ({
  name: `i${number}`,
  client,
  gate: number,
  phase: 'idle',
  claiming: Promise.resolve(),
  open: [],
  force: new Map(),
  unknown: [],
  rows: [],
  low: '0',
  lowNow: '0',
})

export const OPEN = `
  SELECT inbox_id FROM service_ops.integration_inbox
   WHERE source = '${SOURCE}' AND status NOT IN ('DONE', 'DISCARDED')`

/** $1 a message, $2 those that were open: what of them is earlier in the order of the source. */
export const EARLIER = `
  SELECT e.inbox_id FROM service_ops.integration_inbox m JOIN service_ops.integration_inbox e
      ON e.source = m.source AND e.group_key = m.group_key AND (e.source_created_at, e.inbox_id) < (m.source_created_at, m.inbox_id)
   WHERE m.inbox_id = $1 AND e.inbox_id = ANY ($2)`

export const IN_FORCE = `
  SELECT k.group_key AS key, coalesce(k.max_slots, d.max_slots, d.default_slots, 1000) AS most, k.paused OR d.paused AS paused
    FROM service_ops.slot_limit k JOIN service_ops.slot_limit d ON d.source = k.source AND d.group_key = '*'
   WHERE k.source = '${SOURCE}'`

export const AT_THE_GATE = `SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted`

/** Where a claim stops: its snapshot is older. */
const BEFORE_THE_LOCK = '(SELECT d.agreed FROM d)\n   ORDER BY l.source, l.group_key'

/** The claims of the product, edited, and made to stop at a gate when there is one. */
export function preparing(client: Client, edit: Edit, gate?: number): Preparing {
  const stop = (text: string): string => {
    assert.ok(text.includes(BEFORE_THE_LOCK), 'a claim has a place for the gate')
    const pass = `EXISTS (SELECT FROM pg_advisory_xact_lock_shared(${gate}))`
    return text.replace(BEFORE_THE_LOCK, `${pass} AND ${BEFORE_THE_LOCK}`)
  }
  return {
    prepared: (_name, text, values) =>
      client.query(edit(gate === undefined ? text : stop(text)), [...values]),
  }
}

/** Lines up what the looks of this instance have not passed yet, all of it or some. */
export async function lineUpSome(pool: Pool, { low }: Claimer, random: Random): Promise<void> {
  await lineUp(pool, SOURCE, {
    above: low,
    upTo: random.chance(0.5) ? null : String(BigInt(low) + BigInt(random.between(1, 8))),
    limit: random.between(1, 10),
    inWork: random.chance(0.3),
  })
}
