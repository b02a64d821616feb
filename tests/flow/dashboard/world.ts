import type { TestContext } from 'node:test'
import type { Pool } from 'pg'
import type { Browser, Page } from 'playwright-core'
import { startChromium } from '../../support/chromium.ts'
import { createDatabase } from '../../support/database.ts'
import { startInstance } from '../../support/instance.ts'
import type { Instance } from '../../support/instance.ts'

export const TOKEN = 'operators-may-do-this'

/** What a payload, an id, a key and an error may hold that is not meant well. */
export const HOSTILE = `<script>document.title='taken'</script><img src=x onerror="document.title='taken'">"'\u202eevil\u2066`

const CONFIG = `
  export default {
    pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at', payload: 'body', groupKey: 'tenant' }, every: '1s' } },
    processors: {
      reader: {
        from: 'arrivals', contract: 'external', slots: { perKey: 2 }, maxAttempts: 1,
        async handle(message) { if (message.payload.fail) throw new TypeError(message.payload.fail) },
      },
    },
    jobs: { digest: { cron: '* * * * *', async handle() {} } },
  }`

/** A page, and what it complained of or asked for elsewhere. */
export interface Watched {
  readonly page: Page
  readonly complaints: string[]
}

export interface World {
  readonly sql: Pool
  readonly instance: Instance
  readonly browser: Browser
  readonly address: string
  open(options?: {
    readonly dark?: boolean
    readonly width?: number
    readonly script?: boolean
  }): Promise<Watched>
  /** A row for the source; `fail` is what its handler fails with. */
  write(
    id: string,
    options?: { readonly body?: object; readonly tenant?: string; readonly fail?: string },
  ): Promise<void>
}

/** A real instance with a poller, a processor and a job, and a browser. */
export async function dashboardWorld(t: TestContext): Promise<World> {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(
    'CREATE TABLE arrival (id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), body jsonb NOT NULL, tenant text)',
  )
  const browser = await startChromium(t)
  const env = { ADMIN_TOKEN: TOKEN, DASHBOARD: 'public' }
  const instance = await startInstance(t, { databaseUrl: database.url, config: CONFIG, env })
  await instance.said('ready')
  const { address } = instance
  return {
    sql,
    instance,
    browser,
    address,
    async open({ dark = false, width = 1280, script = true } = {}) {
      const context = await browser.newContext({
        colorScheme: dark ? 'dark' : 'light',
        viewport: { width, height: 900 },
        javaScriptEnabled: script,
        baseURL: address,
      })
      t.after(() => context.close())
      const page = await context.newPage()
      const complaints: string[] = []
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
      })
      page.on('pageerror', (error) => complaints.push(error.message))
      page.on('dialog', (dialog) => void dialog.accept())
      page.on('request', (request) => {
        if (!request.url().startsWith(address) && !request.url().startsWith('data:'))
          complaints.push(`asked for ${request.url()}`)
      })
      return { page, complaints }
    },
    async write(id, { body = { n: 1 }, tenant = 'one', fail } = {}) {
      await sql.query('INSERT INTO arrival (id, body, tenant) VALUES ($1, $2, $3)', [
        id,
        JSON.stringify({ ...body, ...(fail !== undefined && { fail }) }),
        tenant,
      ])
    },
  }
}

export async function login(page: Page, name = 'Ann'): Promise<void> {
  await page.goto('/login')
  await page.getByLabel('Your name').fill(name)
  await page.getByLabel('Token').fill(TOKEN)
  await page.getByRole('main').getByRole('button', { name: 'Log in' }).click()
  await page.waitForURL('**/')
}
