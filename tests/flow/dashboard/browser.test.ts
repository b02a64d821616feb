import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { chromiumMissing } from '../../support/chromium.ts'
import { until } from '../../support/until.ts'
import { dashboardWorld, HOSTILE, login } from './world.ts'
import type { World } from './world.ts'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

interface Violation {
  readonly id: string
  readonly impact: string
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[]
}

/** Findings that keep somebody from using the page. */
async function barriers(page: Page): Promise<string[]> {
  // The page's own policy forbids scripts that are not its own; a browser under test may add one all the same.
  await page.evaluate(axe)
  const { violations } = await page.evaluate<{ violations: Violation[] }>('axe.run()')
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(
      ({ id, nodes }) =>
        `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary.slice(0, 200)}`).join(' | ')}`,
    )
}

/** Parts of a page that hide some of what is in them, beyond their right edge. */
const CUT_OFF = `[...document.querySelectorAll('.part')].filter((part) => part.scrollWidth > part.clientWidth).map(({ id }) => id)`

async function numberOf({ sql }: World, id: string): Promise<string> {
  return until(`${id} in the inbox`, async () => {
    const { rows } = await sql.query<{ n: string }>(
      "SELECT inbox_id::text AS n FROM service_ops.integration_inbox WHERE message_id = $1 AND status IN ('DONE', 'DEAD')",
      [id],
    )
    return rows[0]?.n
  })
}

test('the dashboard in a browser', { skip: chromiumMissing }, async (t) => {
  const world = await dashboardWorld(t)
  await world.write('fine')
  await world.write(HOSTILE, {
    tenant: HOSTILE,
    fail: HOSTILE,
    body: { text: `${HOSTILE}${'x'.repeat(1_000_000)}` },
  })
  for (const n of [1, 2, 3]) await world.write(`dead-${n}`, { fail: 'the clinic did not answer' })
  const [fine, hostile] = [await numberOf(world, 'fine'), await numberOf(world, HOSTILE)]
  for (const n of [1, 2, 3]) await numberOf(world, `dead-${n}`)
  const paths = [
    '/',
    '/history',
    '/messages',
    `/messages/${fine}`,
    `/messages/${hostile}`,
    '/messages?status=DEAD',
    '/runs',
    '/jobs',
    '/verify',
    '/actions',
    '/tasks/arrivals',
    '/tasks/reader',
    '/tasks/digest',
    '/login',
    '/nothing',
  ]

  await t.test(
    'shows every page without a complaint, a request elsewhere or a barrier, light and dark, wide and narrow',
    async () => {
      for (const [dark, width] of [
        [false, 1280],
        [true, 1280],
        [false, 360],
        [true, 360],
      ] as const) {
        const { page, complaints } = await world.open({ dark, width })
        await login(page)
        for (const path of paths) {
          await page.goto(path)
          const where = `${path} ${dark ? 'dark' : 'light'} ${width}`
          assert.deepEqual(await barriers(page), [], where)
          const overflow = await page.evaluate<number>(
            'document.documentElement.scrollWidth - document.documentElement.clientWidth',
          )
          assert.ok(overflow <= 0, `${where} is ${overflow} px too wide`)
          for (const between of dark ? [width] : [width, 1180]) {
            await page.setViewportSize({ width: between, height: 900 })
            // What is drawn to the width of its part follows a frame later.
            await until(`nothing to be cut off in ${where} at ${between}`, async () => {
              return (await page.evaluate<string[]>(CUT_OFF)).length === 0
            })
          }
          await page.setViewportSize({ width, height: 900 })
          assert.doesNotMatch(await page.title(), /^taken/)
        }
        // A page that is not there says so on the console as well.
        assert.deepEqual(
          complaints.filter((text) => !text.includes('404')),
          [],
        )
        await page.context().close()
      }
    },
  )

  await t.test('shows what changes while somebody looks, and keeps the focus where it is', async () => {
    const { page, complaints } = await world.open()
    await page.goto('/')
    await page.locator('#live[data-live=on]').waitFor()
    const link = page.locator('#pollers tbody th a')
    await link.focus()
    await world.sql.query(
      "UPDATE service_ops.background_task SET paused = true, paused_by = 'Bea' WHERE task_name = 'arrivals'",
    )
    await page.locator('#pollers').getByText('paused by Bea').waitFor()
    assert.ok(await page.evaluate("document.activeElement === document.querySelector('#pollers tbody th a')"))
    await world.sql.query(
      "UPDATE service_ops.background_task SET paused = false WHERE task_name = 'arrivals'",
    )
    await page.locator('#pollers').getByText('paused by Bea').waitFor({ state: 'detached' })
    assert.deepEqual(complaints, [])
  })

  await t.test('does what its forms say, and has who did it on record', async () => {
    const { page, complaints } = await world.open()
    await login(page, 'Cleo')
    const said = page.getByRole('status').first()
    for (const [name, text] of [
      ['Pause', 'arrivals is paused'],
      ['Resume', 'arrivals is let go on'],
      ['Poll now', 'A pass of arrivals was asked for'],
    ] as const) {
      await page.goto('/tasks/arrivals')
      await page.getByRole('button', { name }).click()
      await said.getByText(text).waitFor()
    }
    await page.goto('/messages?status=DEAD')
    await page.getByLabel('Choose dead-1').check()
    await page.getByRole('button', { name: 'Retry the chosen' }).click()
    await said.getByText('1 message put back').waitFor()
    await page.goto(`/messages?q=dead-2`)
    await page.locator('tbody th a').click()
    await page.getByRole('button', { name: 'Discard' }).click()
    await said.getByText('1 message discarded').waitFor()
    await page.getByText('DISCARDED', { exact: true }).waitFor()
    await replay(page)
    const { rows } = await world.sql.query(
      "SELECT DISTINCT action FROM service_ops.operator_action WHERE who = 'Cleo' AND how = 'http'",
    )
    assert.deepEqual(rows.map(({ action }) => action as string).sort(), [
      'discard',
      'pause',
      'poll',
      'replay',
      'resume',
      'retry',
    ])
    await page.goto('/verify')
    await page.getByRole('button', { name: 'Run all now' }).click()
    await page.getByText('checked in').waitFor()
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByRole('link', { name: 'Log in to act' }).waitFor()
    assert.deepEqual(complaints, [])
  })

  async function replay(page: Page): Promise<void> {
    await world.sql.query("INSERT INTO arrival (id, at, body) VALUES ('old', '2020-01-01 12:00Z', '{}')")
    await page.goto('/tasks/arrivals')
    await page.getByLabel('Written from (UTC)').fill('2020-01-01T00:00')
    await page.getByLabel('before (UTC)').fill('2020-01-02T00:00')
    await page.getByRole('button', { name: 'Look first' }).click()
    await page.getByText('1 never taken in').waitFor()
    await page.getByRole('button', { name: 'Take them in' }).click()
    await page.getByRole('status').getByText('The replay has begun').waitFor()
    await numberOf(world, 'old')
    await until('the end on record', async () => {
      const { rows } = await world.sql.query(
        "SELECT FROM service_ops.operator_action WHERE action = 'replay' AND (detail ->> 'inserted')::int = 1",
      )
      return rows.length === 1
    })
  }

  await t.test('can be read and used without a script', async () => {
    const { page } = await world.open({ script: false })
    await login(page, 'Dan')
    await page.getByRole('heading', { level: 1 }).waitFor()
    await page.goto('/messages?status=DEAD')
    await page.getByLabel('Choose dead-3').check()
    await page.getByRole('button', { name: 'Discard the chosen' }).click()
    await page.getByText('1 message discarded').waitFor()
  })

  await t.test('is used by the keyboard, with the focus in sight', async () => {
    const { page } = await world.open()
    await page.goto('/messages')
    await page.keyboard.press('Tab')
    assert.equal(await page.evaluate('document.activeElement.textContent'), 'Skip to the content')
    for (let n = 0; n < 6; n += 1) {
      await page.keyboard.press('Tab')
      const outline = await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')
      assert.equal(outline, 'solid')
    }
  })

  await t.test('takes its verdict back while the database or the instance does not answer', async () => {
    const { page } = await world.open()
    await page.goto('/')
    await page.locator('#live[data-live=on]').waitFor()
    const verdict = await page.locator('.verdict h1').innerText()
    const away = { contentType: 'text/event-stream', body: 'event: away\ndata: \n\n' }
    await page.route('**/now/events', (route) => route.fulfill(away))
    await page.reload()
    const taken = page.locator('.verdict-act h1', { hasText: 'The database does not answer' })
    await taken.waitFor()
    await page.unroute('**/now/events')
    await page.locator('#live[data-live=on]').waitFor()
    assert.equal(await taken.count(), 0)
    assert.equal((await page.locator('.verdict h1').innerText()).slice(0, 5), verdict.slice(0, 5))
  })

  await t.test('lets an instance go while somebody looks', async () => {
    const { page } = await world.open()
    await page.goto('/')
    await page.locator('#live[data-live=on]').waitFor()
    const from = world.instance.kill('SIGTERM')
    const { code, at } = await world.instance.exited
    assert.equal(code, 0)
    // A connection that is not ended would be waited for until the end of the shutdown limit, 30 s.
    assert.ok(at - from < 15_000, `${at - from} ms`)
    await page.locator('#live[data-live=away]').waitFor()
    await page.locator('.verdict-act h1', { hasText: 'Not connected' }).waitFor()
  })
})
