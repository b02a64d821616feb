import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { reclaimFrom } from '../../src/process/reclaim.ts'
import { until } from '../support/until.ts'
import { recordingLog } from './fixture.ts'
import { held, keyed } from './keyed.ts'

describe('slots', () => {
  test('two instances have no more messages of a key in work than it has slots, and every one in the end', async (t) => {
    const { url, send, become } = await keyed(t)
    await send('a', ['a1', 'a2', 'a3', 'a4'])
    await send('b', ['b1'])
    await send(null, ['n1', 'n2', 'n3'])
    const choices = { slots: { perKey: 2 } }
    const [one, two] = [held(t, url, choices, 'one'), held(t, url, choices, 'two')]
    one.processor.start()
    two.processor.start()
    const all = (): string[] => [...one.begun, ...two.begun].sort()
    await until('what has room', () => all().length === 6)
    const looked = [one, two].map(({ processor }) => processor.state.lastClaimAt ?? 0)
    await until('another look of both', () =>
      [one, two].every(({ processor }, i) => (processor.state.lastClaimAt ?? 0) > (looked[i] ?? 0)),
    )
    assert.deepEqual(all(), ['a1', 'a2', 'b1', 'n1', 'n2', 'n3'])
    for (const who of [one, two]) for (const id of [...who.open.keys()]) if (id === 'a1') who.end(id)
    await until('a3', () => all().includes('a3'))
    assert.equal(all().includes('a4'), false)
    for (;;) {
      for (const who of [one, two]) for (const id of [...who.open.keys()]) who.end(id)
      if (all().length === 8) break
      await until('the next', () => one.open.size + two.open.size > 0)
    }
    for (const who of [one, two]) for (const id of [...who.open.keys()]) who.end(id)
    await become({ a1: 'DONE 1', a2: 'DONE 1', a3: 'DONE 1', a4: 'DONE 1', n3: 'DONE 1' })
  })

  test('what is taken back of a dead instance has given its slot back, and says so', async (t) => {
    const { send, sql } = await keyed(t)
    await send('a', ['a1'])
    await send('no slots', ['n1'])
    await sql.query(
      `UPDATE service_ops.integration_inbox SET status = 'PROCESSING', locked_by = 'dead', locked_at = now(), claim = 1, attempts = 1;
       INSERT INTO service_ops.slot_limit (source, group_key) VALUES ('letters', 'a')`,
    )
    const { log, recorded } = recordingLog()
    await reclaimFrom(sql, 'dead', 'dead', log)
    const said = recorded.of('slot_released')
    assert.deepEqual(
      said.map(({ message_id: id, group_key: key, reason }) => ({ id, key, reason })),
      [{ id: 'a1', key: 'a', reason: 'reclaimed' }],
    )
  })
})

describe('order', () => {
  test('a message that waits for its retry, or is DEAD, holds its key until somebody discards it; other keys go on', async (t) => {
    const { url, send, become, sql } = await keyed(t)
    await send('a', ['a1', 'a2'])
    await send('b', ['b1', 'b2'])
    const one = held(t, url, { ordered: true, maxAttempts: 2 })
    one.processor.start()
    await until('the first of each key', () => one.open.size === 2)
    assert.deepEqual([...one.open.keys()].sort(), ['a1', 'b1'])
    one.end('a1', new RangeError('no'))
    one.end('b1')
    await until('the retry, and the next of the other key', () => one.open.size === 2)
    assert.deepEqual([...one.open.keys()].sort(), ['a1', 'b2'])
    one.end('a1', new RangeError('no'))
    one.end('b2')
    await become({ a1: 'DEAD 2', a2: 'NEW 0', b2: 'DONE 1' })
    await send('c', ['c1'])
    await until('a claim after that', () => one.open.has('c1'))
    assert.equal(one.begun.includes('a2'), false)
    const { rows } = await sql.query(
      `SELECT max_slots, in_use::int, waiting::int FROM service_ops.slot_status WHERE group_key = 'a'`,
    )
    assert.deepEqual(rows, [{ max_slots: 1, in_use: 0, waiting: 1 }])
    await sql.query(
      `UPDATE service_ops.integration_inbox SET status = 'DISCARDED', processed_at = now(), next_attempt_at = NULL WHERE message_id = 'a1'`,
    )
    await until('the next of the key', () => one.open.has('a2'))
    one.end('a2')
    one.end('c1')
    await become({ a2: 'DONE 1', c1: 'DONE 1' })
  })
})

describe('limits', () => {
  test('one UPDATE pauses a key, raises its limit, or holds the whole source, and is seen without a restart', async (t) => {
    const { url, send, become, sql } = await keyed(t)
    const set = (what: string, key: string): Promise<unknown> =>
      sql.query(`UPDATE service_ops.slot_limit SET ${what} WHERE group_key = $1`, [key])
    await send('a', ['a1', 'a2', 'a3'])
    const one = held(t, url, { slots: { perKey: 1 } })
    one.processor.start()
    await until('the first', () => one.open.size === 1)
    await set('max_slots = 2', 'a')
    await until('a second', () => one.open.size === 2)
    await set('paused = true', 'a')
    one.end('a1')
    one.end('a2')
    await become({ a1: 'DONE 1', a2: 'DONE 1' })
    await send('b', ['b1'])
    await until('another key', () => one.open.has('b1'))
    assert.equal(one.begun.includes('a3'), false)
    await set('paused = true', '*')
    await set('paused = false', 'a')
    one.end('b1')
    await become({ b1: 'DONE 1', a3: 'NEW 0' })
    await set('paused = false', '*')
    await until('what was held', () => one.open.has('a3'))
    one.end('a3')
    await become({ a3: 'DONE 1' })
    const [acquired] = one.log.of('slot_acquired')
    assert.deepEqual([acquired?.['group_key'], acquired?.['in_use'], acquired?.['max']], ['a', 1, 1])
    assert.equal(one.log.of('slot_released').length, 4)
  })

  test('a suspect of a key that is paused holds up nobody, and is claimed alone once it may be', async (t) => {
    const { url, send, become, sql } = await keyed(t)
    await send('a', ['a1'])
    await send('b', ['b1'])
    await sql.query(
      `UPDATE service_ops.integration_inbox SET suspect = true, status = 'FAILED', next_attempt_at = now() WHERE message_id = 'a1';
       INSERT INTO service_ops.slot_limit (source, group_key, paused) VALUES ('letters', 'a', true)`,
    )
    const one = held(t, url, { slots: { perKey: 1 } })
    one.processor.start()
    await until('the other key', () => one.open.has('b1'))
    one.end('b1')
    await become({ b1: 'DONE 1' })
    assert.equal(one.begun.includes('a1'), false)
    await sql.query(`UPDATE service_ops.slot_limit SET paused = false`)
    await until('the suspect', () => one.open.has('a1'))
    one.end('a1')
    await become({ a1: 'DONE 1' })
  })
})
