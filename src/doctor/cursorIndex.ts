/**
 * Is there an index for the cursor of each source, and does PostgreSQL use it? Told by the plans of the statements that
 * really run: the page of a pass, with its condition, and the page of the sweep, which reads the rows that do not meet the
 * condition too. EXPLAIN without ANALYZE runs nothing.
 *
 * Where a plan walks or sorts a table that is not small, it is made again with no other way left than an index: if it still
 * does, no index serves; else there is one and PostgreSQL does not choose it.
 */
import { quoteIdentifier } from '../db/identifier.ts'
import type { Queryable } from '../db/pool.ts'
import { errorClass } from '../db/sqlstate.ts'
import { warning, fault, type Check, type Finding } from './check.ts'
import { lookAtPage, type PageLook, type PlanNode, type PlannedTable } from './plan.ts'
import { eachSource, type ReadableSource } from './sources.ts'
import { sql } from './statements.ts'

const NOBODY = '00000000-0000-0000-0000-000000000000'

/** A statement that reads a source page by page. */
interface Reader {
  readonly what: string
  readonly text: string
  readonly values: readonly unknown[]
}

function readersOf({ poller, checked }: ReadableSource): readonly Reader[] {
  const { name, pageSize } = poller
  const { page, sweep } = checked.source
  return [
    { what: 'each page of a pass', text: page.text, values: [name, NOBODY, 0, 0, pageSize, 1, null, null] },
    { what: 'each page of the sweep', text: sweep.page.dated, values: [name, pageSize, 1, null, null, 0] },
  ]
}

export const cursorIndex: Check = {
  name: 'cursor_index',
  title: 'Each source has an index that begins with the cursor, and PostgreSQL uses it.',
  run: (context) =>
    eachSource(context, async (source, database) => {
      for (const reader of readersOf(source)) {
        const seen = await bigOnes(
          database,
          await look(database, source, reader),
          context.limits.smallTableBytes,
        )
        if (seen.length > 0) return [await finding(database, source, reader, seen)]
      }
      return []
    }),
}

/** A table that a page reads whole, or sorts. */
interface Seen {
  readonly name: string
  readonly bytes: number
  readonly did: 'reads' | 'sorts'
}

async function look(
  database: Queryable,
  { poller, checked }: ReadableSource,
  reader: Reader,
): Promise<PageLook> {
  try {
    return await explain(database, reader.text, reader.values, poller.pageSize)
  } catch (error) {
    if (errorClass(error) !== 'permission') throw error
    // A role that may not write the inbox may still read the source, and this statement has the same order.
    return explain(database, checked.source.nextId, [poller.name, NOBODY, 0, 0], poller.pageSize)
  }
}

async function explain(
  database: Queryable,
  text: string,
  values: readonly unknown[],
  pageSize: number,
): Promise<PageLook> {
  type Row = { 'QUERY PLAN': readonly { readonly Plan: PlanNode }[] }
  const { rows } = await database.query<Row>(`EXPLAIN (FORMAT JSON, VERBOSE) ${text}`, values)
  const plan = rows[0]?.['QUERY PLAN'][0]?.Plan
  return plan === undefined ? { walked: [], sorted: [] } : lookAtPage(plan, pageSize)
}

async function bigOnes(
  database: Queryable,
  { walked, sorted }: PageLook,
  smallBytes: number,
): Promise<readonly Seen[]> {
  const seen: Seen[] = []
  for (const [did, tables] of [
    ['reads', walked],
    ['sorts', sorted],
  ] as const) {
    const { rows } = await database.query<{ name: string; bytes: number }>(sql.sizes, namesOf(tables))
    seen.push(...rows.filter(({ bytes }) => bytes > smallBytes).map((row) => ({ ...row, did })))
  }
  return seen
}

function namesOf(tables: readonly PlannedTable[]): [readonly string[], readonly string[]] {
  return [tables.map(({ schema }) => schema), tables.map(({ name }) => name)]
}

async function finding(
  database: Queryable,
  source: ReadableSource,
  reader: Reader,
  seen: readonly Seen[],
): Promise<Finding> {
  const { name, bytes } = seen[0] ?? { name: source.relation.qualified, bytes: 0 }
  const did = [...new Set(seen.map((one) => one.did))].join(' and ')
  const says = `${source.poller.name}: ${reader.what} ${did} ${name} whole (${Math.round(bytes / 2 ** 20)} MB)`
  if (await isUsable(database, source, reader))
    return warning(
      `${says}, although it has an index that serves: its statistics say otherwise`,
      `ANALYZE ${name}`,
    )
  const { why, remedy } = await whyNot(database, source, name)
  return fault(`${says}: ${why}`, remedy)
}

/** Whether an index serves when there is no other way. */
async function isUsable(database: Queryable, source: ReadableSource, reader: Reader): Promise<boolean> {
  await database.query(sql.planner_must_use_indexes)
  try {
    const { walked, sorted } = await look(database, source, reader)
    return walked.length + sorted.length === 0
  } finally {
    await database.query(sql.planner_as_before)
  }
}

type IndexRow = {
  name: string
  method: string
  valid: boolean
  predicate: string | null
  first: string
  begins_with_expression: boolean
  begins_with_time: boolean
}

/** Why the indexes that are there do not serve, and what would. */
async function whyNot(
  database: Queryable,
  { poller, relation }: ReadableSource,
  walked: string,
): Promise<{ why: string; remedy: string }> {
  const { createdAt, id } = poller.source
  const keys = `(${quoteIdentifier(createdAt)}, ${quoteIdentifier(id)})`.replaceAll(
    /"([a-z_][a-z0-9_]*)"/g,
    '$1',
  )
  if (relation.relkind === 'v') {
    return {
      why: `no index of it serves the order of the view ${relation.qualified}`,
      remedy: `CREATE INDEX CONCURRENTLY ON ${walked} with the expressions that the view has for ${createdAt} and ${id}, in this order`,
    }
  }
  const { rows } = await database.query<IndexRow>(sql.source_indexes, [relation.qualified, createdAt])
  const table = relation.qualified
  // Of a partitioned table one index cannot be made for all partitions at once without their locks.
  const create = `CREATE INDEX ${relation.relkind === 'p' ? '' : 'CONCURRENTLY '}ON ${table} ${keys}`
  const broken = rows.find((row) => !row.valid && shapeFault(row) === undefined)
  if (broken !== undefined)
    return { why: `the index ${broken.name} is invalid`, remedy: `REINDEX INDEX CONCURRENTLY ${broken.name}` }
  const faults = rows.flatMap((row) => shapeFault(row) ?? [])
  const why = faults.length === 0 ? `no index begins with ${createdAt}` : faults.join('; ')
  return { why, remedy: create }
}

/** Why an index does not serve by what it is made of; undefined: it would. */
function shapeFault({
  name,
  method,
  predicate,
  first,
  begins_with_expression: expression,
  begins_with_time: time,
}: IndexRow): string | undefined {
  if (method !== 'btree') return `the index ${name} is ${method}, which has no order`
  if (predicate !== null)
    return `the index ${name} is partial (WHERE ${predicate}), and rows outside of it are read too`
  if (expression) return `the index ${name} begins with the expression ${first}, which the page does not have`
  return time ? undefined : `the index ${name} begins with ${first}`
}
