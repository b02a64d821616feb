import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PollerUnknown, RangeTooLarge } from '../../../src/errors.ts'
import type { ReplayRequest } from '../../../src/http/dashboardPort.ts'
import { addMessages, realDashboard } from './fixture.ts'

test('what a person does', async (t) => {
  const asked: ReplayRequest[] = []
  let failure: Error | undefined
  const world = await realDashboard(
    t,
    {},
    {
      pollers: () => ['orders'],
      async lookAtRange(request) {
        if (failure !== undefined) throw failure
        asked.push(request)
        return {
          ...{ looked: 10, missing: 2, firstMissing: ['a-7', '<b>'], waiting: 0, firstWaiting: [] },
          ...{ forgotten: 0, firstForgotten: [], forgottenBefore: null },
        }
      },
      async replay(request, who) {
        if (failure !== undefined) throw failure
        asked.push(request)
        return `7 by ${who}`
      },
    },
  )
  const { browser, query } = world
  await query(
    `INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release) VALUES (1, 'orders', 'poller', true, 'x', '1')`,
  )
  await browser.login('Ann')
  const form_token = await browser.formToken()
  const post = async (path: string, form: Record<string, string | readonly string[]>) => {
    const response = await browser.post(path, { form_token, ...form })
    return response.status === 303 ? browser.text(response.headers.get('location') ?? '') : response.text()
  }

  await t.test('to chosen messages is done to each that can be, and on record', async () => {
    const ids = await addMessages(world, [
      { id: 'a', status: 'DEAD' },
      { id: 'b', status: 'DEAD' },
      { id: 'c', status: 'DONE' },
    ])
    const page = await post('/messages', {
      action: 'retry',
      id: ids.map(String),
      back: '/messages?status=DEAD',
    })
    assert.match(page, /2 messages put back, 1 not: message \d+ is DONE: retry is for messages that are DEAD/)
    assert.match(
      await post('/messages', { action: 'discard', id: String(ids[0]), back: '/messages' }),
      /1 message discarded\./,
    )
    const { length } = await query(
      `SELECT FROM service_ops.operator_action WHERE who = 'Ann' AND how = 'http' AND action IN ('retry', 'discard')`,
    )
    assert.equal(length, 3)
    const statuses = await query(`SELECT status FROM service_ops.integration_inbox ORDER BY inbox_id`)
    assert.deepEqual(
      statuses.map(({ status }) => status),
      ['DISCARDED', 'NEW', 'DONE'],
    )
  })

  await t.test('without a choice or an action changes nothing, and is told so', async () => {
    assert.match(await post('/messages', { action: 'retry', back: '/messages' }), /No message was chosen/)
    assert.match(
      await post('/messages', { id: '1', action: 'delete', back: '/messages' }),
      /Nothing was asked for/,
    )
    assert.match(await post('/tasks/orders', { action: 'drop' }), /Nothing was asked for/)
  })

  await t.test('leads back to our own pages alone', async () => {
    const response = await browser.post('/messages', {
      form_token,
      action: 'retry',
      id: '1',
      back: '//evil.example',
    })
    assert.equal(response.headers.get('location'), '/')
  })

  await t.test('to a task that there is not is refused in words', async () => {
    const response = await browser.post('/tasks/none', { form_token, action: 'pause' })
    assert.equal(response.status, 303)
    assert.match(await browser.text('/'), /there is no task named &quot;none&quot;/)
  })

  await t.test(
    'as a replay looks first, changes nothing by that, and says what it would take in',
    async () => {
      const range = { from: '2026-03-01T08:00', to: '2026-03-01T09:00' }
      const page = await post('/tasks/orders', { action: 'look', ...range })
      assert.match(page, /<b>2<\/b>\s*never taken in/)
      assert.match(page, /&lt;b&gt;/)
      assert.match(page, /value="replay"/)
      const request = {
        poller: 'orders',
        from: '2026-03-01T08:00Z',
        to: '2026-03-01T09:00Z',
        includeForgotten: false,
      }
      assert.deepEqual(asked, [request])
      assert.match(
        await post('/tasks/orders', { action: 'replay', ...range, include_forgotten: '1' }),
        /begun as action 7 by Ann/,
      )
      assert.deepEqual(asked[1], { ...request, includeForgotten: true })
    },
  )

  await t.test(
    'as a replay of no range, or of one that cannot be looked at, is refused in words',
    async () => {
      const range = { from: '2026-03-01T09:00', to: '2026-03-01T08:00' }
      assert.match(await post('/tasks/orders', { action: 'look', ...range }), /a beginning and a later end/)
      assert.match(
        await post('/tasks/orders', { action: 'look', from: 'yesterday', to: '' }),
        /a beginning and a later end/,
      )
      const right = { from: range.to, to: range.from }
      failure = new RangeTooLarge('orders')
      assert.match(await post('/tasks/orders', { action: 'look', ...right }), /choose a shorter one/)
      failure = new PollerUnknown('orders')
      assert.match(await post('/tasks/orders', { action: 'replay', ...right }), /orders/)
      failure = new Error('password=secret at 10.0.0.7')
      const page = await post('/tasks/orders', { action: 'replay', ...right })
      assert.match(page, /The database did not do it \(Error\)/)
      assert.doesNotMatch(page, /10\.0\.0\.7/)
    },
  )
})
