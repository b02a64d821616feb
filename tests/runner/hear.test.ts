import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hear } from '../../src/runner/hear.ts'
import { recordedLog } from '../db/recordedLog.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

/** Every look by the clock would find the same some seconds later: only this shows that a notification is heard at all. */
test('each notification wakes whom it is for, and all of them once it is heard again', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  const heard: string[] = []
  const says = (what: string) => () => void heard.push(what)
  const listener = hear(
    { url: database.url, startupOptions: true },
    'tidemark:hearing',
    {
      ...recordedLog(),
      child() {
        throw new Error('nobody here makes a child log')
      },
      close: () => Promise.resolve(),
    },
    {
      leaders: { wake: says('leaders') },
      pauses: { wake: says('pauses') },
      processors: [{ wake: says('processor') }],
      ticks: new Map([['orders', { wake: says('look of orders'), demand: says('pass of orders') }]]),
      onInserted: (source) => heard.push(`rows of ${source}`),
      onDemand: (poller) => heard.push(`pass of ${poller}, elsewhere`),
      onHeard: (is) => heard.push(is ? 'up' : 'down'),
    },
  )
  t.after(() => listener.close())
  const all = ['up', 'leaders', 'pauses', 'processor', 'look of orders']
  const hears = async (what: string, expected: readonly string[]): Promise<void> => {
    await until(what, () => heard.length >= expected.length)
    assert.deepEqual(heard.splice(0), expected, what)
  }
  await hears('the beginning', all)
  for (const [channel, payload, expected] of [
    ['tidemark_leader', '', 'leaders'],
    ['tidemark_control', '', 'pauses'],
    ['tidemark_inbox', 'orders', 'rows of orders'],
    ['tidemark_wake', 'orders', 'look of orders'],
    ['tidemark_poll', 'orders', 'pass of orders'],
    ['tidemark_poll', 'bills', 'pass of bills, elsewhere'],
  ] as const) {
    await pool.query('SELECT pg_notify($1, $2)', [channel, payload])
    await hears(channel, [expected])
  }
  await pool.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidemark:hearing' AND datname = current_database()`,
  )
  await hears('a connection that was lost', ['down', ...all])
})
