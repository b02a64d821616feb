import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { AdminPort } from '../../../src/http/adminPort.ts'
import type { AppOptions } from '../../../src/http/app.ts'
import { appOn, fakePort } from '../fixture.ts'
import { BROWSER, browserOn, EMPTY, fakeDashboard, TOKEN } from './fixture.ts'

const PAGES = [
  '/',
  '/history',
  '/messages',
  '/messages/1',
  '/runs',
  '/jobs',
  '/verify',
  '/actions',
  '/tasks/orders',
]

function dashboardOn(
  settings: Partial<AppOptions['settings']>,
  more: Pick<AppOptions, 'serves' | 'dashboard'> = {},
) {
  const paused: string[] = []
  const admin: AdminPort = {
    pause: async (task, isPaused, who) => {
      paused.push(`${task} ${isPaused} ${who}`)
      return '1'
    },
    poll: () => Promise.resolve('1'),
    change: () => Promise.resolve('1'),
  }
  const { app, lines } = appOn(fakePort(), settings, {
    admin,
    dashboard: fakeDashboard({ database: () => EMPTY }),
    ...more,
  })
  return { app, lines, paused, browser: browserOn(app) }
}

describe('the dashboard that is off', () => {
  test('does not exist, for browsers and for programs', async () => {
    const { app, browser } = dashboardOn({ dashboard: 'off', adminToken: TOKEN })
    for (const path of [...PAGES, '/login', '/now/events', '/assets/x/dashboard.css']) {
      const response = await browser.get(path)
      assert.equal(response.status, 404, path)
      assert.match(response.headers.get('content-type') ?? '', /json/, path)
    }
    assert.equal((await app.request('/login', { method: 'POST' })).status, 404)
  })
})

describe('the dashboard behind the token', () => {
  const settings = { dashboard: 'token', adminToken: TOKEN } as const

  test('sends browsers to the login, which leads back, and refuses programs', async () => {
    const { app, browser } = dashboardOn(settings)
    for (const path of PAGES) {
      const response = await browser.get(`${path}?a=b`)
      assert.equal(response.status, 303, path)
      assert.equal(response.headers.get('location'), `/login?next=${encodeURIComponent(`${path}?a=b`)}`)
      const refused = await app.request(path)
      assert.equal(refused.status, 401, path)
      assert.equal(refused.headers.get('www-authenticate'), 'Bearer')
    }
    assert.equal((await browser.get('/now/events')).status, 303)
  })

  test('hears programs that bring the token, and nobody who brings another', async () => {
    const { app } = dashboardOn(settings)
    const status = async (token: string) =>
      (await app.request('/status', { headers: { Authorization: `Bearer ${token}` } })).status
    assert.deepEqual([await status(TOKEN), await status(`${TOKEN}x`)], [200, 401])
  })

  test('shows everything to a session, and nothing after its logout', async () => {
    const { browser } = dashboardOn(settings)
    assert.equal((await browser.login()).status, 303)
    assert.equal((await browser.get('/status')).status, 200)
    const formToken = /name="form_token" value="([^"]+)"/.exec(await browser.text('/jobs'))?.[1] ?? ''
    assert.equal((await browser.post('/logout', { form_token: formToken })).status, 303)
    assert.equal((await browser.get('/status')).status, 303)
  })
})

describe('a login', () => {
  const settings = { dashboard: 'token', adminToken: TOKEN } as const

  test('gives a cookie that scripts, other sites and plain connections do not get, and that is not the token', async () => {
    const { browser } = dashboardOn(settings)
    const plain = (await browser.login()).headers.getSetCookie().join()
    assert.match(plain, /tidemark_session=/)
    assert.match(plain, /HttpOnly/)
    assert.match(plain, /SameSite=Strict/)
    assert.doesNotMatch(plain, /Secure/)
    assert.ok(!plain.includes(TOKEN) && !plain.includes(Buffer.from(TOKEN).toString('base64url')))
    const form = { name: 'Ann', token: TOKEN, next: '/' }
    const secure = await browser.post('/login', form, { 'X-Forwarded-Proto': 'https' })
    assert.match(secure.headers.getSetCookie().join(), /Secure/)
  })

  test('leads to a path of ours and nowhere else', async () => {
    const { browser } = dashboardOn(settings)
    const leadsTo = async (next: string) =>
      (await browser.post('/login', { name: 'Ann', token: TOKEN, next })).headers.get('location')
    assert.equal(await leadsTo('/messages?status=DEAD'), '/messages?status=DEAD')
    for (const next of [
      '//evil.example',
      '/\\evil.example',
      'https://evil.example',
      'javascript:alert(1)',
      '',
    ])
      assert.equal(await leadsTo(next), '/', next)
  })

  test('with a wrong token is refused, and after five of them for a minute whatever it brings', async () => {
    const { app, browser, lines } = dashboardOn(settings)
    for (let n = 0; n < 5; n += 1) assert.equal((await browser.login('Eve', `wrong-${n}`)).status, 401)
    const refused = await browser.login()
    assert.equal(refused.status, 429)
    assert.match(refused.headers.get('retry-after') ?? '', /^\d+$/)
    assert.equal(browser.cookies.size, 0)
    assert.equal(lines.json.filter(({ event }) => event === 'login_refused').length, 5)
    assert.ok(!lines.text.join('').includes('wrong-'))
    // Programs go on: where the address is one that many may share, as here, a token in the header is always heard.
    const bearer = { Authorization: `Bearer ${TOKEN}` }
    assert.equal((await app.request('/status', { headers: bearer })).status, 200)
  })

  test('from a page of another site is refused', async () => {
    const { browser } = dashboardOn(settings)
    const form = { name: 'Ann', token: TOKEN, next: '/' }
    for (const Origin of ['https://evil.example', 'null', 'http://localhost:81'])
      assert.equal((await browser.post('/login', form, { Origin })).status, 403, Origin)
  })

  test('that is no form is a wrong one, and no fault of ours', async () => {
    const { app } = dashboardOn(settings)
    const headers = { 'Content-Type': 'multipart/form-data; boundary=x' }
    const send = (body: string) => app.request('/login', { method: 'POST', headers, body })
    assert.equal((await send('no form')).status, 401)
  })

  test('asks who it is', async () => {
    const { browser } = dashboardOn(settings)
    assert.equal((await browser.login(' \u202e ')).status, 401)
    assert.equal(browser.cookies.size, 0)
  })
})

describe('a form', () => {
  const settings = { dashboard: 'public', adminToken: TOKEN } as const
  const pause = { action: 'pause' }

  test('does what it says, under the name of the login, and says so once on the next page', async () => {
    const { browser, paused } = dashboardOn(settings)
    await browser.login('Ann Lee')
    const form_token = await browser.formToken('/jobs')
    const response = await browser.post('/tasks/orders', { ...pause, form_token })
    assert.equal(response.status, 303)
    assert.equal(response.headers.get('location'), '/tasks/orders')
    assert.deepEqual(paused, ['orders true Ann Lee'])
    assert.match(await browser.text('/jobs'), /role="status"[^>]*>orders is paused/)
    assert.doesNotMatch(await browser.text('/jobs'), /orders is paused/)
  })

  test('without a session, its token or our origin does nothing', async () => {
    const { browser, paused } = dashboardOn(settings)
    const anybody = await browser.post('/tasks/orders', pause)
    assert.equal(anybody.headers.get('location'), '/login')
    await browser.login()
    const form_token = await browser.formToken('/jobs')
    const other = browserOn(browser.app)
    await other.login()
    const others = await other.formToken('/jobs')
    assert.notEqual(others, form_token)
    assert.equal((await browser.post('/tasks/orders', pause)).status, 403)
    assert.equal((await browser.post('/tasks/orders', { ...pause, form_token: others })).status, 403)
    for (const headers of [{ Origin: 'https://evil.example' }, { Origin: 'null' }])
      assert.equal((await browser.post('/tasks/orders', { ...pause, form_token }, headers)).status, 403)
    assert.deepEqual(paused, [])
  })

  test('that is too large does nothing, and is told so', async () => {
    const { app, browser, paused } = dashboardOn(settings)
    await browser.login()
    const form_token = await browser.formToken('/jobs')
    for (const [path, most] of [
      ['/tasks/orders', '65,536'],
      ['/messages', '65,536'],
      ['/login', '16,384'],
      ['/logout', '16,384'],
    ] as const) {
      const page = await browser.post(path, { ...pause, form_token, more: 'x'.repeat(70_000) })
      assert.equal(page.status, 413, path)
      assert.match(await page.text(), new RegExp(`too much at once[^]*larger than ${most} bytes`), path)
    }
    assert.deepEqual(paused, [])
    const response = await app.request('/login', { method: 'POST', body: 'x'.repeat(20_000) })
    const { error, message } = (await response.json()) as Record<string, string>
    assert.deepEqual(
      [response.status, error, message],
      [413, 'too_large', 'This form is larger than 16,384 bytes: nothing was done.'],
    )
  })

  test('is not there where there is no token', async () => {
    const { app } = dashboardOn({ dashboard: 'public' })
    const post = { method: 'POST', headers: { Origin: 'http://localhost', Host: 'localhost' } }
    for (const path of ['/tasks/orders', '/messages', '/login', '/logout'])
      assert.equal((await app.request(path, post)).status, 404, path)
  })
})

describe('what there is not', () => {
  test('is a page for browsers and JSON for programs, with nothing of the address in it that is not escaped', async () => {
    const { app, browser } = dashboardOn({ dashboard: 'public' })
    const page = await browser.get('/<script>alert(1)</script>')
    assert.equal(page.status, 404)
    const text = await page.text()
    assert.match(text, /No such page/)
    assert.ok(!text.includes('<script>alert'))
    assert.match((await app.request('/nothing')).headers.get('content-type') ?? '', /json/)
  })

  test('on the port of the public is JSON for everybody', async () => {
    const { app } = dashboardOn({ dashboard: 'public' }, { serves: 'the public' })
    for (const path of PAGES) {
      const response = await app.request(path, { headers: BROWSER })
      assert.equal(response.status, 404, path)
      assert.match(response.headers.get('content-type') ?? '', /json/)
    }
  })
})

describe('a page', () => {
  test('may load nothing but our own files, and be shown in no frame', async () => {
    const { browser } = dashboardOn({ dashboard: 'public', adminToken: TOKEN })
    const { headers } = await browser.get('/login')
    const policy = headers.get('content-security-policy') ?? ''
    for (const part of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "frame-ancestors 'none'",
      "form-action 'self'",
      "base-uri 'none'",
    ])
      assert.ok(policy.includes(part), part)
    assert.ok(!policy.includes('unsafe'))
    assert.equal(headers.get('referrer-policy'), 'same-origin')
    assert.equal(headers.get('cache-control'), 'no-store')
  })

  test('names files by their content, which a browser keeps for ever', async () => {
    const { browser } = dashboardOn({ dashboard: 'public', adminToken: TOKEN })
    const paths = [...(await browser.text('/login')).matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g)].map(
      ([, path = '']) => path,
    )
    assert.equal(paths.length, 3)
    for (const path of paths) {
      const response = await browser.get(path)
      assert.equal(response.status, 200, path)
      assert.equal(response.headers.get('cache-control'), 'public, max-age=31536000, immutable')
    }
    assert.equal((await browser.get('/assets/000000000000/dashboard.css')).status, 404)
  })

  test('that needs the database says so while it is away', async () => {
    const { app, browser } = dashboardOn({ dashboard: 'public' }, { dashboard: fakeDashboard() })
    for (const path of ['/', '/messages', '/runs']) {
      const response = await browser.get(path)
      assert.equal(response.status, 503, path)
      assert.match(await response.text(), /The database did not answer/)
    }
    assert.match((await app.request('/')).headers.get('content-type') ?? '', /json/)
  })
})
