import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import type { Client } from 'pg'
import type { Queryable } from '../../src/db/pool.ts'
import { sqlPath } from '../../src/db/folder.ts'
import { splitStatements } from '../../src/db/statements.ts'
import { claimEnd } from '../../src/tables/attempt.ts'
import {
  announceInserted,
  claimMessages,
  claimSuspect,
  countBegun,
  giveBack,
  giveBackStrays,
  hasWork,
  inWorkElsewhere,
  lockedByOthers,
  lostOwners,
  reclaim,
  refusedAs,
  stillOurs,
  writeDone,
  writeDoneFirst,
  writeFailed,
} from '../../src/tables/inbox.ts'
import { lookBack, raiseLowWater, readLowWater } from '../../src/tables/lowWater.ts'
import { createDatabase } from '../support/database.ts'

/*
 * Every statement of the inbox, planned with its values and without them: a pooler or a driver that prepares statements makes
 * PostgreSQL plan for no value in particular after five runs, and keep that plan. Neither may walk through the inbox, whatever
 * was known of it.
 */

const FINISHED = 20_000
const FRESH = 1_000
const WAITING = 100

/** Run once an instance or a source, not once a message: a walk may be what they want. */
const SELDOM: ReadonlySet<string> = new Set(['owners', 'begin_low_water'])

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly Plans?: readonly PlanNode[]
}

for (const mode of ['force_custom_plan', 'force_generic_plan'] as const) {
  for (const statistics of ['none', 'of an empty inbox', 'of a full inbox'] as const) {
    test(`no statement of the inbox walks through all of it; ${mode}, statistics: ${statistics}`, async (t) => {
      const client = await (await createDatabase(t)).client()
      await client.query('ALTER TABLE service_ops.integration_inbox SET (autovacuum_enabled = off)')
      if (statistics === 'of an empty inbox') await client.query('ANALYZE service_ops.integration_inbox')
      const low = await fill(client)
      if (statistics === 'of a full inbox') await client.query('ANALYZE service_ops.integration_inbox')
      await client.query(`SET plan_cache_mode = ${mode}`)
      const plans = await planAll(client, low)
      const names = [...statementsOf('inbox'), ...statementsOf('low_water')]
      assert.deepEqual(
        names.filter(([name, text]) => !plans.has(text) && !SELDOM.has(name)).map(([name]) => name),
        // Its placeholder is filled; its text is another.
        ['refused_as'],
      )
      const walks = [...plans].filter(([, plan]) => walksInbox(plan))
      assert.deepEqual(
        walks.map(([text]) => names.find(([, known]) => known === text)?.[0] ?? text),
        [],
      )
    })
  }
}

function statementsOf(file: string): [string, string][] {
  const path = `queries/${file}.sql`
  return [...splitStatements(readFileSync(sqlPath(path), 'utf8'), path)].map(([name, text]) => [
    name,
    text.includes(':"attempts"') ? claimEnd(text).noted : text,
  ])
}

/** Runs every statement once; its plan, by its text. */
async function planAll(client: Client, low: string): Promise<Map<string, PlanNode>> {
  const plans = new Map<string, PlanNode>()
  const db: Queryable = {
    async query(text, values = []) {
      const plan = await planOf(client, text, values)
      if (plan !== undefined) plans.set(text, plan)
      return client.query(text, [...values])
    },
  }
  const sources = ['bench', 'other']
  const rows = await claimMessages(db, {
    sources,
    instanceId: 'me',
    limit: 400,
    low,
    maxAttempts: 10,
    maxBytes: 2 ** 24,
    ahead: true,
  })
  assert.equal(rows.length, 400)
  const claims = rows.map((row) => ({ inboxId: row.inbox_id, claim: row.claim, waitMs: 0 }))
  await claimSuspect(db, { sources, instanceId: 'me', maxAttempts: 10 })
  await stillOurs(db, claims)
  await lockedByOthers(db, claims)
  await countBegun(db, 'me', claims)
  for (const claim of claims.splice(0, 1)) await writeDoneFirst(db, 'me', claim, 1_000)
  await writeDone(db, 'me', claims.splice(0, 99))
  await writeFailed(
    db,
    'me',
    claims.splice(0, 100).map((claim) => ({ ...claim, error: 'x' })),
  )
  await giveBack(
    db,
    'me',
    claims.splice(0, 100).map((claim) => ({ ...claim, counts: true })),
  )
  await giveBackStrays(db, 'me', sources, low, [])
  await inWorkElsewhere(db, sources, 'another', low)
  await hasWork(db, 'me')
  await lostOwners({ query: (text, values = []) => client.query(text, [...values]) })
  await reclaim(db, 'me', 100, false)
  const { boot } = await readLowWater(db, sources)
  await lookBack(db, sources, low)
  await raiseLowWater(db, sources, low, boot)
  await refusedAs(db, 'bench', '1')
  await announceInserted(db, 'bench')
  return plans
}

/** The plan that a prepared statement runs by. */
async function planOf(
  client: Client,
  text: string,
  values: readonly unknown[],
): Promise<PlanNode | undefined> {
  await client.query(`PREPARE planned AS ${text}`)
  try {
    const literals = values.map(literal).join(', ')
    const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
      `EXPLAIN (FORMAT JSON) EXECUTE planned${values.length === 0 ? '' : ` (${literals})`}`,
    )
    return rows[0]?.['QUERY PLAN'][0].Plan
  } finally {
    await client.query('DEALLOCATE planned')
  }
}

/** What stands in the lists here needs no quotes of its own. */
function literal(value: unknown): string {
  if (value === null) return 'NULL'
  return Array.isArray(value) ? `'{${value.map(plain).join()}}'` : `'${plain(value)}'`
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function walksInbox(node: PlanNode): boolean {
  const isWalk = node['Node Type'] === 'Seq Scan' && node['Relation Name'] === 'integration_inbox'
  return isWalk || (node.Plans ?? []).some(walksInbox)
}

/** Finished messages, then some that wait and fresh ones; returns the low-water mark between them. */
async function fill(client: Client): Promise<string> {
  const insert = `
    INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, payload, status, processed_at, next_attempt_at)
    SELECT 'bench', $1::text || n, md5(n::text), '{"a": 1}', $1::text, CASE WHEN $1 = 'DONE' THEN now() END,
           CASE WHEN $1 = 'FAILED' THEN now() END
      FROM generate_series(1, $2::integer) n`
  await client.query(insert, ['DONE', FINISHED])
  await client.query(insert, ['FAILED', WAITING])
  const { rows } = await client.query<{ low: string }>(
    'SELECT max(inbox_id) AS low FROM service_ops.integration_inbox',
  )
  await client.query(insert, ['NEW', FRESH])
  return rows[0]?.low ?? '0'
}
