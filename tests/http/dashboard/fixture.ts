import type { Pool, Queryable } from '../../../src/db/pool.ts'
import { createPool } from '../../../src/db/pool.ts'
import type { AdminPort } from '../../../src/http/adminPort.ts'
import type { App, AppOptions } from '../../../src/http/app.ts'
import type { DashboardPort } from '../../../src/http/dashboardPort.ts'
import { createAdmin } from '../../../src/runner/admin.ts'
import { readStatus } from '../../../src/tables/status.ts'
import type { StatusDocument } from '../../../src/tables/status.ts'
import { createDatabase } from '../../support/database.ts'
import type { Scope } from '../../support/scope.ts'
import { appOn, fakePort } from '../fixture.ts'

export const TOKEN = 'a-token-of-more-than-16'
export const NOTHING: StatusDocument = {
  at: '2026-03-01T08:00:00.000001+00:00',
  pollers: [],
  processors: [],
  jobs: [],
  circuits: [],
  leaders: [],
  leader_changes: [],
  instances: [],
  slots: [],
  verdict: { level: 'well', sentence: 'All is well.', findings: [] },
}

/** A database in which there is nothing. */
export const EMPTY: Queryable = {
  query: () => Promise.resolve({ rows: [{ ages: [] }], rowCount: 1 } as never),
}

/** A port without a database, for what needs none. */
export function fakeDashboard(change: Partial<DashboardPort> = {}): DashboardPort {
  return {
    status: () => Promise.resolve(NOTHING),
    database: () => {
      throw new Error('not connected yet')
    },
    ending: new AbortController().signal,
    pollers: () => [],
    lookAtRange: () => Promise.reject(new Error('not asked for')),
    replay: () => Promise.reject(new Error('not asked for')),
    ...change,
  }
}

export const BROWSER = { Accept: 'text/html,application/xhtml+xml' }

/** A browser as far as cookies and forms go. */
export interface Browser {
  readonly app: App
  readonly cookies: Map<string, string>
  get(path: string, headers?: Record<string, string>): Promise<Response>
  text(path: string): Promise<string>
  /** Sends a form with the token of a page that was seen before. */
  post(
    path: string,
    form: Record<string, string | readonly string[]>,
    headers?: Record<string, string>,
  ): Promise<Response>
  login(name?: string, token?: string): Promise<Response>
  /** The token of the forms of the page at `path`. */
  formToken(path?: string): Promise<string>
}

export function browserOn(app: App): Browser {
  const cookies = new Map<string, string>()
  const cookie = (): Record<string, string> =>
    cookies.size === 0 ? {} : { Cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') }
  function keep(response: Response): Response {
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (/Max-Age=0/i.test(line)) cookies.delete(name)
      else cookies.set(name, value)
    }
    return response
  }
  const browser: Browser = {
    app,
    cookies,
    get: async (path, headers = {}) =>
      keep(await app.request(path, { headers: { ...BROWSER, ...cookie(), ...headers } })),
    text: async (path) => (await browser.get(path)).text(),
    async post(path, form, headers = {}) {
      const body = new URLSearchParams()
      for (const [name, value] of Object.entries(form))
        for (const one of [value].flat()) body.append(name, one)
      const all = { ...BROWSER, ...cookie(), Origin: 'http://localhost', Host: 'localhost', ...headers }
      return keep(await app.request(path, { method: 'POST', body, headers: all }))
    },
    login: (name = 'Ann', token = TOKEN) => browser.post('/login', { name, token, next: '/' }),
    async formToken(path = '/actions') {
      return /name="form_token" value="([^"]+)"/.exec(await browser.text(path))?.[1] ?? ''
    },
  }
  return browser
}

export interface RealDashboard {
  readonly browser: Browser
  readonly pool: Pool
  readonly admin: AdminPort
  readonly query: (text: string, values?: readonly unknown[]) => Promise<Record<string, unknown>[]>
}

/** The dashboard on a database of its own. */
export async function realDashboard(
  scope: Scope,
  settings: Partial<AppOptions['settings']> = {},
  change: Partial<DashboardPort> = {},
): Promise<RealDashboard> {
  const database = await createDatabase(scope)
  const pool = createPool({
    url: database.programUrl,
    applicationName: 'test',
    max: 4,
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs: 10_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
  })
  scope.after(() => pool.end())
  const admin = createAdmin(() => pool)
  const dashboard = fakeDashboard({ status: () => readStatus(pool), database: () => pool, ...change })
  const { app } = appOn(
    fakePort(),
    { dashboard: 'public', adminToken: TOKEN, ...settings },
    { admin, dashboard },
  )
  return {
    browser: browserOn(app),
    pool,
    admin,
    query: async (text, values = []) => (await pool.query(text, values)).rows,
  }
}

/** Messages as a poller and a processor leave them. */
export async function addMessages(
  { query }: Pick<RealDashboard, 'query'>,
  rows: readonly {
    readonly id: string
    readonly source?: string
    readonly status?: string
    readonly key?: string
    readonly error?: string
    readonly payload?: unknown
    readonly trace?: string
  }[],
): Promise<number[]> {
  const numbers: number[] = []
  for (const { id, source = 'orders', status = 'DONE', key, error, payload = { n: 1 }, trace } of rows) {
    const [row] = await query(
      `INSERT INTO service_ops.integration_inbox
         (source, message_id, status, group_key, last_error, payload, trace_id, claim, attempts, source_created_at, processed_at, next_attempt_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 1, now(), CASE WHEN $3 IN ('DONE', 'DISCARDED') THEN now() END,
               CASE $3 WHEN 'DEAD' THEN 'infinity'::timestamptz WHEN 'FAILED' THEN now() + interval '1 hour' END)
       RETURNING inbox_id::float8 AS id`,
      [source, id, status, key ?? null, error ?? null, JSON.stringify(payload), trace ?? `trace-${id}`],
    )
    numbers.push(row?.['id'] as number)
  }
  return numbers
}
