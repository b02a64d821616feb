import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import type { Page } from 'playwright-core'
import { findOnPath } from '../tests/support/program.ts'

/*
 * npm run screenshots: the pictures of docs/dashboard.md, from a running demo whose ADMIN_TOKEN it is given:
 *
 *     ADMIN_TOKEN=… npm start      and then      ADMIN_TOKEN=… npm run screenshots -- http://127.0.0.1:8080
 */

const { positionals } = parseArgs({ allowPositionals: true })
const [address = 'http://127.0.0.1:8080', folder = join(import.meta.dirname, '../docs')] = positionals
const token = process.env['ADMIN_TOKEN'] ?? ''
const WIDTH = 1180
const HEIGHT = 820

const executablePath = findOnPath('chromium') ?? findOnPath('google-chrome')
if (executablePath === undefined) throw new Error('chromium is not on the PATH (package chromium)')
mkdirSync(folder, { recursive: true })
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
try {
  for (const scheme of ['light', 'dark'] as const) {
    const context = await browser.newContext({
      baseURL: address,
      colorScheme: scheme,
      viewport: { width: WIDTH, height: HEIGHT },
    })
    const page = await context.newPage()
    await page.goto('/login')
    await page.getByLabel('Your name').fill('Ann')
    await page.getByLabel('Token').fill(token)
    await page.getByRole('main').getByRole('button', { name: 'Log in' }).click()
    await page.waitForURL('**/')
    await page.locator('#live[data-live=on]').waitFor()
    if (scheme === 'light') {
      await shoot(page, 'now')
      await page.goto('/messages')
      await shoot(page, 'messages')
      // One that failed first has the better story.
      const rows = page.locator('tbody tr')
      const tried = rows.filter({ hasText: /[2-9] of \d+/ })
      await ((await tried.count()) > 0 ? tried : rows).first().locator('th a').click()
      await page.getByRole('heading', { name: 'Story' }).waitFor()
      await shoot(page, 'message')
      await page.goto('/history')
      await shoot(page, 'history')
    } else {
      await shoot(page, 'now-dark')
      await page.setViewportSize({ width: 360, height: HEIGHT })
      await page.goto('/')
      await page.locator('#live[data-live=on]').waitFor()
      await shoot(page, 'now-narrow')
    }
    await context.close()
  }
} finally {
  await browser.close()
}

async function shoot(page: Page, name: string): Promise<void> {
  await page.waitForLoadState('networkidle').catch(() => undefined)
  await page.screenshot({ path: join(folder, `dashboard-${name}.png`) })
}
