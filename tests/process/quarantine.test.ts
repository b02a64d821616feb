import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Quarantine } from '../../src/process/quarantine.ts'
import type { Turn } from '../../src/process/quarantine.ts'
import { until } from '../support/until.ts'
import { inbox, INSTANCE, processorOn, programPool } from './fixture.ts'

function clocked() {
  const clock = { ms: 0 }
  return { clock, quarantine: new Quarantine(() => clock.ms) }
}

describe('the quarantine', () => {
  test('lets everybody claim while there are no suspects', () => {
    const { quarantine } = clocked()
    quarantine.hold()
    assert.deepEqual([quarantine.turn('a', false), quarantine.turn('b', false)], ['anything', 'anything'])
  })

  test('gives a suspect its turn when nothing is in work, and wakes who waits', () => {
    const { quarantine } = clocked()
    const woken: string[] = []
    quarantine.join('a', () => woken.push('a'))
    quarantine.join('b', () => woken.push('b'))
    const release = quarantine.hold()
    assert.deepEqual([quarantine.turn('a', true), quarantine.turn('b', true)], ['nothing', 'nothing'])
    release()
    assert.deepEqual(woken, ['a'])
    assert.deepEqual([quarantine.turn('b', false), quarantine.turn('a', true)], ['nothing', 'one suspect'])
    assert.equal(quarantine.turn('a', false), 'anything')
    assert.deepEqual(woken, ['a', 'a', 'b'])
    assert.equal(quarantine.turn('b', true), 'anything') // open for a while, whatever waits
  })

  test('lets others claim beside a suspect that takes long, but no other suspect before it has ended', () => {
    const { clock, quarantine } = clocked()
    assert.equal(quarantine.turn('a', true), 'one suspect')
    const release = quarantine.hold()
    clock.ms += 6_000
    assert.equal(quarantine.turn('b', true), 'nothing')
    clock.ms += 1
    assert.equal(quarantine.turn('b', true), 'anything')
    clock.ms += 3_600_000
    assert.equal(quarantine.turn('a', true), 'anything')
    release()
    assert.equal(quarantine.turn('a', true), 'one suspect')
  })

  test('waits longer from time to time, and then begins a suspect beside what has outlasted it: 30 s are the longest silence', () => {
    const { clock, quarantine } = clocked()
    quarantine.hold()
    const waits: number[] = []
    const untilNot = (turn: Turn, ask: () => Turn): number => {
      const since = clock.ms
      while (ask() === turn) clock.ms += 100
      return clock.ms - since
    }
    const ask = (): Turn => quarantine.turn('a', true)
    while (waits.length < 10 && ask() !== 'one suspect') {
      untilNot('anything', ask)
      waits.push(untilNot('nothing', ask))
    }
    assert.deepEqual(waits, [2_100, 4_100, 8_100, 16_100, 24_100])
    const release = quarantine.hold()
    const alone = untilNot('nothing', () => quarantine.turn('b', false))
    assert.ok(24_100 + alone <= 30_200, `alone for ${alone} ms`)
    release()
    untilNot('anything', ask)
    assert.equal(ask(), 'one suspect', 'what has outlasted the longest wait holds no other up')
  })

  test('wakes the one whose turn it is when somebody else sees that it has waited long enough', () => {
    const { clock, quarantine } = clocked()
    const woken: string[] = []
    quarantine.join('a', () => woken.push('a'))
    quarantine.hold()
    let silentMs = 0
    while (silentMs <= 24_000) {
      silentMs = quarantine.turn('a', true) === 'nothing' ? silentMs + 100 : 0
      clock.ms += 100
    }
    woken.length = 0
    assert.equal(quarantine.turn('b', false), 'nothing')
    assert.deepEqual(woken, ['a'])
    assert.equal(quarantine.turn('a', true), 'one suspect')
  })

  test('opens when the processor whose turn it is stops claiming', () => {
    const { quarantine } = clocked()
    assert.equal(quarantine.turn('a', true), 'one suspect')
    quarantine.leave('a')
    assert.equal(quarantine.turn('b', false), 'anything')
  })
})

describe('what a dead process had in work', () => {
  test('is claimed alone, with nothing of another processor beside it, and all of it is done', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    await send('s1', 's2', 's3', 'n1', 'n2', 'n3', 'n4')
    await sql.query(
      `UPDATE service_ops.integration_inbox SET status = 'FAILED', attempts = 1, suspect = true, next_attempt_at = now()
        WHERE message_id LIKE 's%';
       INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id)
       SELECT 'others', 'o' || n, '{}', 'o' FROM generate_series(1, 4) n`,
    )
    const inWork = new Set<string>()
    const beside: Record<string, string[]> = {}
    const handle = async ({ messageId }: { messageId: string }) => {
      inWork.add(messageId)
      if (messageId.startsWith('s')) beside[messageId] = [...inWork]
      else for (const one of inWork) if (one.startsWith('s')) beside[one]?.push(messageId)
      await sql.query('SELECT pg_sleep(0.1)')
      inWork.delete(messageId)
    }
    const quarantine = new Quarantine()
    const pool = programPool(t, url)
    const work = { kind: 'external', handle } as const
    const one = processorOn(t, pool, work, {}, INSTANCE, quarantine)
    const other = processorOn(
      t,
      pool,
      work,
      { name: 'other', from: ['others'], concurrency: 1 },
      INSTANCE,
      quarantine,
    )
    one.start()
    other.start()
    await become({ s1: 'DONE 2', s2: 'DONE 2', s3: 'DONE 2', n1: 'DONE 1', n4: 'DONE 1', o4: 'DONE 1' })
    assert.deepEqual(beside, { s1: ['s1'], s2: ['s2'], s3: ['s3'] })
    await until('nothing to be in work', () => one.state.inWork + other.state.inWork === 0)
  })
})
