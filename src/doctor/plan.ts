/**
 * What a plan does with a source: the page has to find its rows by an index that has them in the order of the cursor. What
 * walks a table, or sorts it, does so for every page. Only the part that reads the page is looked at; the rest is Tidemark's
 * own tables.
 */

/** A node of `EXPLAIN (FORMAT JSON, VERBOSE)`, as far as it is looked at. */
export interface PlanNode {
  readonly 'Node Type': string
  readonly 'Subplan Name'?: string
  readonly 'Relation Name'?: string
  readonly Schema?: string
  readonly 'Index Cond'?: string
  readonly 'Plan Rows': number
  readonly Plans?: readonly PlanNode[]
}

/** A table in a plan. */
export interface PlannedTable {
  readonly schema: string
  readonly name: string
}

export interface PageLook {
  /** Read from their beginning to their end. */
  readonly walked: readonly PlannedTable[]
  /** More rows than a page has sorted before the first comes out. An incremental sort is none: it sorts rows of one time. */
  readonly sorted: readonly PlannedTable[]
}

const PAGE = 'CTE page'

/** What the part of a plan that reads a page of so many rows does; the whole plan where it has no such part. */
export function lookAtPage(plan: PlanNode, pageSize: number): PageLook {
  const nodes = [...below(pageOf(plan) ?? plan)]
  return {
    walked: nodes.filter(isWalk).flatMap(tablesOf),
    sorted: nodes
      .filter((node) => node['Node Type'] === 'Sort' && node['Plan Rows'] > pageSize)
      .flatMap((node) => [...below(node)].flatMap(tablesOf)),
  }
}

function pageOf(node: PlanNode): PlanNode | undefined {
  return [...below(node)].find((one) => one['Subplan Name'] === PAGE)
}

function* below(node: PlanNode): Generator<PlanNode> {
  yield node
  for (const child of node.Plans ?? []) yield* below(child)
}

/** An index without a condition is walked from its beginning as well. */
function isWalk(node: PlanNode): boolean {
  const type = node['Node Type']
  return type === 'Seq Scan' || (/^Index (Only )?Scan$/.test(type) && node['Index Cond'] === undefined)
}

function tablesOf({ Schema: schema, 'Relation Name': name }: PlanNode): PlannedTable[] {
  return schema === undefined || name === undefined ? [] : [{ schema, name }]
}
