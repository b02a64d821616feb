import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Circuit } from '../../../src/process/deliver/circuit.ts'
import type { Finding } from '../../../src/process/deliver/circuit.ts'

const WELL: Finding = { kind: 'well' }
const REFUSED: Finding = { kind: 'ill', why: 'ECONNREFUSED', reached: false }
const FAILS: Finding = { kind: 'ill', why: '500', reached: true }
const asks = (waitMs: number): Finding => ({ kind: 'ill', why: '429', reached: true, waitMs })

function circuit() {
  const time = { now: 1_000_000 }
  const said: string[] = []
  const made = new Circuit({
    failures: 3,
    open: { baseMs: 1_000, maxMs: 8_000 },
    now: () => time.now,
    onOpened: ({ why, failures }) => void said.push(`opened: ${why}, ${failures}`),
    onClosed: () => void said.push('closed'),
    onChange: () => void said.push('changed'),
  })
  let messages = 0
  const send = (finding: Finding, messageId = `m${(messages += 1)}`): boolean => {
    const pass = made.enter(messageId)
    pass?.(finding)
    return pass !== undefined
  }
  return {
    circuit: made,
    said,
    pass: (ms: number) => void (time.now += ms),
    /** One message, sent and found so. False: it may not be sent. */
    send,
    /** Opens it, and goes on to when it is half open. */
    halfOpen() {
      for (let i = 0; i < 3; i += 1) send(REFUSED)
      time.now += made.shutMs ?? assert.fail('it is closed')
    },
  }
}

describe('a closed circuit', () => {
  test('opens at so many failures in a row, and then lets nothing through', () => {
    const { circuit: one, said, send } = circuit()
    for (let i = 0; i < 2; i += 1) assert.ok(send(REFUSED))
    assert.deepEqual([one.broken, one.room], [undefined, Infinity])
    assert.ok(send(REFUSED))
    assert.deepEqual(said, ['opened: ECONNREFUSED, 3', 'changed'])
    assert.equal(send(WELL), false)
    assert.equal(one.broken?.why, 'ECONNREFUSED')
    assert.ok((one.shutMs ?? 0) > 0)
  })

  test('stays closed when successes come between', () => {
    const { circuit: one, send } = circuit()
    for (let i = 0; i < 10; i += 1) send(i % 3 === 2 ? WELL : FAILS)
    assert.equal(one.broken, undefined)
  })

  test('does not open by one message that fails again and again', () => {
    const { circuit: one, send } = circuit()
    for (let i = 0; i < 20; i += 1) send(FAILS, 'the same')
    assert.equal(one.broken, undefined)
    send(FAILS)
    send(FAILS)
    assert.notEqual(one.broken, undefined)
  })

  test('opens by one message when the target cannot be reached at all', () => {
    const { circuit: one, send } = circuit()
    for (let i = 0; i < 3; i += 1) send(REFUSED, 'the same')
    assert.notEqual(one.broken, undefined)
  })

  test('opens at once when the target asks to wait, for that time, but an hour at most', () => {
    const first = circuit()
    first.send(asks(90_000))
    assert.equal(first.circuit.shutMs, 90_000)
    first.pass(89_999)
    assert.equal(first.send(WELL), false)
    first.pass(1)
    assert.ok(first.send(WELL))
    const second = circuit()
    second.send(asks(86_400_000))
    assert.equal(second.circuit.shutMs, 3_600_000)
  })

  test('knows nothing by what we ended ourselves', () => {
    const { circuit: one, send } = circuit()
    for (let i = 0; i < 10; i += 1) send({ kind: 'unknown' })
    assert.equal(one.broken, undefined)
  })
})

describe('an open circuit', () => {
  test('is not closed by what was sent before it opened, nor kept open for longer, unless the target asks', () => {
    const { circuit: one, send } = circuit()
    const before = [one.enter('x'), one.enter('y'), one.enter('z')]
    for (let i = 0; i < 3; i += 1) send(REFUSED)
    const openMs = one.shutMs
    before[0]?.(WELL)
    before[1]?.(FAILS)
    assert.equal(one.shutMs, openMs)
    before[2]?.(asks(60_000))
    assert.equal(one.shutMs, 60_000)
  })
})

describe('a half open circuit', () => {
  test('lets one message through, and no other while that one is under way', () => {
    const mine = circuit()
    mine.halfOpen()
    assert.deepEqual([mine.circuit.shutMs, mine.circuit.room], [undefined, 1])
    const probe = mine.circuit.enter('probe')
    assert.ok(probe !== undefined)
    assert.equal(mine.circuit.enter('other'), undefined)
    assert.ok((mine.circuit.shutMs ?? 0) > 0)
    probe(WELL)
    assert.deepEqual([mine.circuit.broken, mine.circuit.room], [undefined, Infinity])
    assert.deepEqual(mine.said.slice(2), ['closed', 'changed', 'changed'])
  })

  test('waits for longer after each probe that fails, up to a limit, and begins anew once it was closed', () => {
    const waits: number[] = []
    const mine = circuit()
    mine.halfOpen()
    for (let i = 0; i < 6; i += 1) {
      assert.ok(mine.send(REFUSED))
      const ms = mine.circuit.shutMs ?? 0
      waits.push(ms)
      mine.pass(ms)
    }
    // Half of each is chance: 2, 4, 8, 8, 8, 8 s at most.
    for (const [i, most] of [2_000, 4_000, 8_000, 8_000, 8_000, 8_000].entries())
      assert.ok((waits[i] ?? 0) >= most / 2 && (waits[i] ?? 0) <= most, `${waits[i]} of ${most}`)
    assert.ok(mine.send(WELL))
    for (let i = 0; i < 3; i += 1) mine.send(REFUSED)
    assert.ok((mine.circuit.shutMs ?? 0) <= 1_000)
  })

  test('goes on when its probe was ended by us', () => {
    const mine = circuit()
    mine.halfOpen()
    assert.ok(mine.send({ kind: 'unknown' }))
    assert.equal(mine.circuit.shutMs, undefined)
    assert.ok(mine.send(WELL))
    assert.equal(mine.circuit.broken, undefined)
  })

  test('begins its count anew when it closes', () => {
    const mine = circuit()
    mine.halfOpen()
    mine.send(WELL)
    mine.send(REFUSED)
    mine.send(REFUSED)
    assert.equal(mine.circuit.broken, undefined)
  })
})
