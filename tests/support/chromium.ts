import { chromium } from 'playwright-core'
import type { Browser } from 'playwright-core'
import { findOnPath } from './program.ts'
import type { Scope } from './scope.ts'

const path = findOnPath('chromium') ?? findOnPath('chromium-browser') ?? findOnPath('google-chrome')

/** Why tests in a browser cannot run here, or false. Where CI is set they have to: without a browser they fail. */
export const chromiumMissing: string | false =
  path === undefined && (process.env['CI'] ?? '') === '' && 'chromium is not on the PATH (package chromium)'

/** Starts a browser that is closed with the test. */
export async function startChromium(scope: Scope): Promise<Browser> {
  if (path === undefined) throw new Error('chromium is not on the PATH (package chromium)')
  // CI runs as root, for whom the sandbox has no user to change to; the pages are our own.
  const browser = await chromium.launch({ executablePath: path, args: ['--no-sandbox'] })
  scope.after(() => browser.close())
  return browser
}
