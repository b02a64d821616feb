import assert from 'node:assert/strict'
import type { Health } from '../../../src/http/health.ts'
import type { InvariantResult, StatusDocument } from '../../../src/tables/status.ts'
import { tidemark } from '../../cli/tidemark.ts'
import { readScrape } from '../../support/exposition.ts'
import type { Scrape } from '../../support/exposition.ts'
import { until } from '../../support/until.ts'
import { readPage } from './page.ts'
import type { Page } from './page.ts'
import type { FrozenWorld } from './world.ts'

/** Names of rows of the status document, and of the views behind it. */
export const COLLECTIONS = {
  pollers: { key: ['poller'], view: 'poller_status' },
  processors: { key: ['processor'], view: 'processor_status' },
  jobs: { key: ['job'], view: undefined },
  slots: { key: ['source', 'group_key'], view: 'slot_status' },
  instances: { key: ['instance_id'], view: 'instance_status' },
  leaders: { key: ['task_name'], view: 'background_task_leader' },
  leader_changes: { key: ['task_name', 'term'], view: 'leader_change' },
  circuits: { key: ['target', 'instance_id'], view: 'circuit_status' },
} as const
export type Collection = keyof typeof COLLECTIONS

/** A row of anything, by its names. */
export type Row = Readonly<Record<string, unknown>>

/** Everything that was read of one system at rest, and when: seconds of the test's own clock. */
export interface Seen {
  readonly at: Readonly<Record<string, number>>
  readonly cli: StatusDocument
  readonly http: StatusDocument
  readonly verifyCli: readonly InvariantResult[]
  readonly verifySql: readonly InvariantResult[]
  /** The views, by their names. */
  readonly views: ReadonlyMap<string, readonly Row[]>
  /** What the tables say, counted by hand: `orders NEW` and the like, by what is counted. */
  readonly counted: Readonly<Record<string, ReadonlyMap<string, number>>>
  /** One for each that lives, as all that follows; their ids are in `ids`. */
  readonly scrapes: readonly Scrape[]
  readonly health: readonly Health[]
  readonly ready: readonly number[]
  readonly ids: readonly string[]
  readonly pages: Readonly<Record<'now' | 'verify' | 'jobs', Page>>
  readonly tasks: ReadonlyMap<string, Page>
}

/** Counts of the tables themselves, without any view of ours. $1: the instances that live. */
const COUNTS = {
  inbox: `SELECT source || ' ' || status AS key, count(*)::float8 AS n FROM service_ops.integration_inbox GROUP BY 1`,
  sources: `SELECT source AS key, count(*)::float8 AS n FROM service_ops.integration_inbox GROUP BY 1`,
  overdue: `SELECT source AS key, count(*)::float8 AS n FROM service_ops.integration_inbox
             WHERE processed_at IS NULL AND created_at > now() - interval '2 hours' AND created_at <= now() - interval '1 hour' GROUP BY 1`,
  attempts: `SELECT source AS key, sum(attempts)::float8 AS n FROM service_ops.integration_inbox WHERE status IN ('FAILED', 'DEAD') GROUP BY 1`,
  runs: `SELECT poller || ' ' || outcome AS key, count(*)::float8 AS n FROM service_ops.poll_run WHERE instance_id = ANY ($1) GROUP BY 1`,
  changes: `SELECT task_name || ' ' || reason AS key, count(*)::float8 AS n FROM service_ops.leader_change WHERE to_instance = ANY ($1) GROUP BY 1`,
} as const

const VIEWS = [
  ...Object.values(COLLECTIONS).flatMap(({ view }) => (view === undefined ? [] : [view])),
  'task_status',
]

export async function look({ url, sql, living }: FrozenWorld): Promise<Seen> {
  const at: Record<string, number> = {}
  const seconds = (): number => performance.now() / 1000
  const read = async <T>(reader: string, ask: () => Promise<T>): Promise<T> => {
    const before = seconds()
    const found = await ask()
    at[reader] = (before + seconds()) / 2
    return found
  }
  const frozenAt = seconds()
  const [first] = living
  assert.ok(first !== undefined)
  const ids = living.map(({ id }) => id)

  const { rows: verifySql } = await sql.query<InvariantResult & Row>(
    'SELECT name, ok, found::integer, detail, query FROM service_ops.verify() ORDER BY name',
  )
  const scrapes = await until('numbers and verdicts that were read since', async () => {
    const all = await Promise.all(
      living.map(({ address }) => read('metrics', () => textOf(`${address}/metrics`))),
    )
    const found = all.map(readScrape)
    const isNew = found.every((scrape) => {
      const age = scrape.value('tidemark_database_numbers_age_seconds')
      const unknown = [...scrape.samples.keys()].filter((key) => key.startsWith('tidemark_verify_unknown'))
      return age !== undefined && age < seconds() - frozenAt && unknown.length === verifySql.length
    })
    return isNew ? found : undefined
  })
  at['metrics'] = (at['metrics'] ?? 0) - (scrapes[0]?.value('tidemark_database_numbers_age_seconds') ?? 0)

  const views = new Map<string, readonly Row[]>()
  await read('sql', async () => {
    for (const view of VIEWS) {
      const { rows } = await sql.query<{ rows: Row[] }>(
        `SELECT coalesce(jsonb_agg(to_jsonb(v)), '[]') AS rows FROM service_ops.${view} v`,
      )
      views.set(view, rows[0]?.rows ?? [])
    }
  })
  const counted: Record<string, ReadonlyMap<string, number>> = {}
  for (const [what, text] of Object.entries(COUNTS)) {
    const { rows } = await sql.query<{ key: string; n: number }>(text, text.includes('$1') ? [ids] : [])
    counted[what] = new Map(rows.map(({ key, n }) => [key, n]))
  }
  const verb = async (name: string): Promise<string> => {
    const { stdout, stderr } = await tidemark([name, '--json'], { env: { DATABASE_URL: url } })
    assert.notEqual(stdout, '', stderr)
    return stdout
  }
  const page = async (path: string, method = 'GET') =>
    readPage(await textOf(first.address + path, { method, headers: { Origin: first.address } }))
  const tasks = new Map<string, Page>()
  for (const row of views.get('task_status') ?? []) {
    const name = String(row['task_name'])
    tasks.set(name, await read('tasks', () => page(`/tasks/${name}`)))
  }
  return {
    at,
    cli: JSON.parse(await read('cli', () => verb('status'))) as StatusDocument,
    http: JSON.parse(await read('http', () => textOf(`${first.address}/status`))) as StatusDocument,
    verifyCli: JSON.parse(await verb('verify')) as InvariantResult[],
    verifySql,
    views,
    counted,
    scrapes,
    health: await Promise.all(
      living.map(async ({ address }) => JSON.parse(await textOf(`${address}/health`)) as Health),
    ),
    ready: await Promise.all(living.map(async ({ address }) => (await fetch(`${address}/ready`)).status)),
    ids,
    pages: {
      now: await read('page', () => page('/')),
      verify: await page('/verify', 'POST'),
      jobs: await page('/jobs'),
    },
    tasks,
  }
}

async function textOf(url: string, init: RequestInit = {}): Promise<string> {
  const response = await fetch(url, init)
  if (!response.ok) throw new Error(`${url} said ${response.status}`)
  return response.text()
}
