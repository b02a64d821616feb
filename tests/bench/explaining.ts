import assert from 'node:assert/strict'
import type { Client } from 'pg'
import type { Queryable } from '../../src/db/pool.ts'

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Actual Rows': number
  readonly 'Actual Loops': number
  readonly 'Rows Removed by Filter'?: number
  readonly 'Rows Removed by Join Filter'?: number
  readonly Plans?: readonly PlanNode[]
}

/** Explains every statement in a transaction that is rolled back, tells how many rows its plan handled, then runs it. */
export function explaining(client: Client, saw: (rows: number) => void): Queryable {
  return {
    async query(text, values = []) {
      await client.query('BEGIN')
      const explain = `EXPLAIN (ANALYZE, FORMAT JSON) ${text}`
      const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(explain, [...values])
      await client.query('ROLLBACK')
      const plan = rows[0]?.['QUERY PLAN'][0].Plan
      assert.ok(plan !== undefined)
      saw(rowsHandled(plan))
      return client.query(text, [...values])
    },
  }
}

function rowsHandled(node: PlanNode): number {
  const each =
    node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Join Filter'] ?? 0)
  return (node.Plans ?? []).reduce((sum, child) => sum + rowsHandled(child), each * node['Actual Loops'])
}
