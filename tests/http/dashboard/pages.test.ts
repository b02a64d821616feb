import assert from 'node:assert/strict'
import { test } from 'node:test'
import { skipAsRunner } from '../../support/programWay.ts'
import { addMessages, browserOn, realDashboard } from './fixture.ts'

const HOSTILE = `<script>alert(1)</script>"'\u202eevil\u2066`
const RAW = /<script>alert|\u202e|\u2066/

test('pages', async (t) => {
  const world = await realDashboard(t)
  const { browser, query, admin } = world
  await query(
    `INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release, sources, source_table) VALUES
       (1, 'orders', 'poller', true, 'x', '1', NULL, 'shop.orders'), (2, 'packing', 'processor', false, 'x', '1', '{orders}', NULL),
       (3, 'digest', 'job', false, 'x', '1', NULL, NULL)`,
  )
  await query(
    `INSERT INTO service_ops.poll_run (poller, due_at, started_at, outcome, term, instance_id, error)
     SELECT 'orders', now(), now(), CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'ran' END, 1, 'i-1', CASE WHEN n % 50 = 0 THEN $1 END
       FROM generate_series(1, 200) n`,
    [HOSTILE],
  )
  const big = { text: `${HOSTILE}${'x'.repeat(1_000_000)}` }
  const [plain = 0, hostile = 0] = await addMessages(world, [
    { id: 'a-1', payload: { secret: 'payload' } },
    {
      id: HOSTILE,
      status: 'DEAD',
      key: HOSTILE,
      error: `TypeError: ${HOSTILE}`,
      payload: big,
      trace: 'trace',
    },
  ])
  const paths = [
    ...['/', '/history', '/history?span=week', '/history?span=nothing', '/messages', '/messages?status=DEAD'],
    ...['/messages?q=a-1', '/messages?since=2026-01-01T00:00', `/messages/${plain}`, `/messages/${hostile}`],
    ...[
      '/runs',
      '/runs?poller=orders&outcome=failed',
      '/verify',
      '/actions',
      '/tasks/orders',
      '/tasks/packing',
      '/tasks/digest',
    ],
  ]

  await t.test('are whole for everybody, and hold nothing that a browser could run', async () => {
    for (const who of [browser, await loggedIn()]) {
      for (const path of paths) {
        const response = await who.get(path)
        const text = await response.text()
        assert.equal(response.status, 200, `${path}: ${text.slice(0, 400)}`)
        assert.match(text, /<\/html>\s*$/)
        assert.doesNotMatch(text, RAW, path)
        assert.doesNotMatch(text, /undefined|\[object|NaN/, path)
        assert.doesNotMatch(text, /<[^>]+ (?:style|on\w+)="/, path)
        assert.ok(!/<script(?! defer src="\/assets\/)(?! type="application\/json")/.test(text), path)
      }
    }
  })

  await t.test(
    'of jobs say so where pg-boss has no tables',
    { skip: skipAsRunner('its databases have pg-boss’s schema') },
    async () => {
      assert.equal((await browser.get('/jobs')).status, 503)
    },
  )

  await t.test('show a payload to whoever has the token alone, cut where it is long', async () => {
    const path = `/messages/${plain}`
    const without = await browser.text(path)
    assert.doesNotMatch(without, /secret/)
    assert.match(without, /Shown only to whoever has the token/)
    const ann = await loggedIn()
    assert.match(await ann.text(path), /&quot;secret&quot;: &quot;payload&quot;/)
    const cut = await ann.text(`/messages/${hostile}`)
    assert.match(cut, /Cut after 100,000 characters/)
    assert.match(cut, /\\u202e/)
    assert.ok(cut.length < 250_000, String(cut.length))
  })

  await t.test('of what there is not are 404', async () => {
    for (const path of [
      '/messages/999',
      '/messages/0',
      '/messages/x',
      `/messages/${'9'.repeat(30)}`,
      '/tasks/none',
    ])
      assert.equal((await browser.get(path)).status, 404, path)
  })

  await t.test('of messages ask for a time again that PostgreSQL would not read', async () => {
    const times = ['2026-02-31T00:00', '2026-13-01T00:00', '0000-01-01T00:00', '0001-01-01T00:00']
    for (const time of [...times, '9999-12-31T23:59', '2026-01-01T00:00+23:59', '2026-01-01T00:00+05:60'])
      for (const side of ['since', 'until'])
        assert.match(
          await browser.text(`/messages?${side}=${encodeURIComponent(time)}`),
          /A time is written as/,
        )
    for (const time of ['1000-01-01T00:00', '9998-12-31T23:59', '2024-02-29T24:00-15:59'])
      for (const side of ['since', 'until'])
        assert.equal((await browser.get(`/messages?${side}=${encodeURIComponent(time)}`)).status, 200, time)
  })

  await t.test('of news answer HEAD without becoming a viewer', async () => {
    const look = (method: string) => browser.app.request('/now/events', { method })
    for (let n = 0; n < 101; n += 1) assert.equal((await look('HEAD')).status, 200)
    const viewer = await look('GET')
    assert.equal(viewer.status, 200)
    await viewer.body?.cancel()
  })

  await t.test('of runs go back page by page, each run once', async () => {
    const seen: string[] = []
    for (let path: string | undefined = '/runs?poller=orders'; path !== undefined;) {
      const text = await browser.text(path)
      seen.push(...[...text.matchAll(/data-label="Outcome"/g)].map(() => 'run'))
      path = nextOf(text)
    }
    assert.equal(seen.length, 200)
    const failed = await browser.text('/runs?outcome=failed&outcome=nonsense')
    assert.equal(failed.match(/data-label="Outcome"/g)?.length, 4)
  })

  await t.test('of verify run nothing until they are asked to, and only by a form of ours', async () => {
    assert.match(await browser.text('/verify'), /not run yet/)
    const ran = await (await browser.post('/verify', {})).text()
    assert.match(ran, /checked in/)
    assert.match(ran, /mark-good/)
    const other = await browser.post('/verify', {}, { Origin: 'https://evil.example' })
    assert.equal(other.status, 403)
  })

  await t.test('of actions say who did what, and how', async () => {
    await admin.pause('orders', true, 'Bea')
    const text = await browser.text('/actions')
    assert.match(text, /pause/)
    assert.match(text, /Bea/)
    assert.match(await browser.text('/tasks/orders'), /paused by <bdi>Bea<\/bdi>/)
  })

  await t.test(
    'of a message say that its attempts could not be read, where their table is gone',
    { skip: skipAsRunner('a table is its owner’s to drop') },
    async () => {
      await query('DROP TABLE service_ops.message_attempt')
      assert.match(
        await browser.text(`/messages/${hostile}`),
        /attempts not read[\s\S]*tidemark migrate --repair/,
      )
    },
  )

  async function loggedIn() {
    const ann = browserOn(browser.app)
    assert.equal((await ann.login()).status, 303)
    return ann
  }
})

function nextOf(page: string): string | undefined {
  return /href="([^"]+)" rel="next"/.exec(page)?.[1]?.replaceAll('&amp;', '&')
}
