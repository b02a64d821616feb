import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createSeldom } from '../../src/kit/seldom.ts'

/** A question whose answers a test gives, by a clock that it moves. */
function question(longestMs?: number) {
  let at = 0
  const asked: PromiseWithResolvers<number>[] = []
  const seldom = createSeldom({
    ask: () => {
      const one = Promise.withResolvers<number>()
      asked.push(one)
      return one.promise
    },
    everyMs: () => 5_000,
    keepMs: () => 30_000,
    now: () => at,
    ...(longestMs !== undefined && { longestMs }),
  })
  return { seldom, asked, pass: (ms: number) => void (at += ms) }
}

const PATIENT_MS = 10_000

describe('a question that is asked seldom', () => {
  test('is not asked before somebody wants the answer, and then once for all of them', async () => {
    const { seldom, asked } = question()
    assert.equal(asked.length, 0)
    const answers = Promise.all([seldom.get(PATIENT_MS), seldom.get(PATIENT_MS)])
    asked[0]?.resolve(7)
    assert.deepEqual(await answers, [
      { value: 7, ageMs: 0 },
      { value: 7, ageMs: 0 },
    ])
    assert.equal(asked.length, 1)
  })

  test('serves everybody for a while, and tells the age of its answer', async () => {
    const { seldom, asked, pass } = question()
    const first = seldom.get(PATIENT_MS)
    asked[0]?.resolve(1)
    await first
    pass(4_999)
    assert.deepEqual(await seldom.get(PATIENT_MS), { value: 1, ageMs: 4_999 })
    pass(1)
    const second = seldom.get(PATIENT_MS)
    asked[1]?.resolve(2)
    assert.deepEqual(await second, { value: 2, ageMs: 0 })
  })

  test('makes nobody wait longer than he would: the answer that was known stands, until it is too old', async () => {
    const { seldom, asked, pass } = question()
    const first = seldom.get(PATIENT_MS)
    asked[0]?.resolve(1)
    await first
    pass(20_000)
    assert.deepEqual(await seldom.get(1), { value: 1, ageMs: 20_000 })
    pass(10_001)
    assert.equal(await seldom.get(1), undefined)
    asked[1]?.resolve(2)
    assert.equal((await seldom.get(PATIENT_MS))?.value, 2)
    assert.equal(asked.length, 2)
  })

  test('is asked less often the longer it takes, and again after a minute at the latest', async () => {
    const { seldom, asked, pass } = question()
    const first = seldom.get(PATIENT_MS)
    pass(1_000)
    asked[0]?.resolve(1)
    await first
    pass(19_000)
    await seldom.get(1)
    assert.equal(asked.length, 1)
    pass(1_000)
    const second = seldom.get(PATIENT_MS)
    pass(40_000)
    asked[1]?.resolve(2)
    await second
    pass(60_000)
    void seldom.get(1)
    assert.equal(asked.length, 3)
  })

  test('that reads a disk for long keeps to its share, as far as is wished', async () => {
    const { seldom, asked, pass } = question(400_000)
    const first = seldom.get(PATIENT_MS)
    pass(20_000)
    asked[0]?.reject(new Error('canceling statement due to statement timeout'))
    await first
    pass(399_999)
    void seldom.get(1)
    assert.equal(asked.length, 1)
    pass(1)
    void seldom.get(1)
    assert.equal(asked.length, 2)
  })

  test('what failed or was forgotten is not known, and a late answer to what was forgotten does not count', async () => {
    const { seldom, asked, pass } = question()
    const first = seldom.get(PATIENT_MS)
    asked[0]?.reject(new Error('away'))
    assert.equal(await first, undefined)
    pass(5_000)
    const second = seldom.get(PATIENT_MS)
    seldom.forget()
    asked[1]?.resolve(2)
    assert.equal(await second, undefined)
    pass(5_000)
    const third = seldom.get(PATIENT_MS)
    asked[2]?.resolve(3)
    assert.equal((await third)?.value, 3)
  })

  test('that somebody needs is waited for by all who come meanwhile, and its answer stands until it is due again', async () => {
    const { seldom, asked, pass } = question()
    const both = Promise.all([seldom.need(), seldom.need()])
    pass(4_000)
    asked[0]?.resolve(1)
    assert.deepEqual(await both, [1, 1])
    pass(999)
    assert.equal(await seldom.need(), 1)
    assert.equal(asked.length, 1)
  })

  test('that somebody needs fails for all who wait for it, and is asked again at once', async () => {
    const { seldom, asked } = question()
    const both = Promise.allSettled([seldom.need(), seldom.need()])
    asked[0]?.reject(new Error('away'))
    assert.deepEqual(
      (await both).map(({ status }) => status),
      ['rejected', 'rejected'],
    )
    const again = seldom.need()
    asked[1]?.resolve(2)
    assert.equal(await again, 2)
  })

  test('that was under way when its answer was forgotten is asked anew for whoever needs it now', async () => {
    const { seldom, asked } = question()
    const first = seldom.need()
    seldom.forget()
    const second = seldom.need()
    asked[1]?.resolve(2)
    assert.equal(await second, 2)
    asked[0]?.resolve(1)
    assert.equal(await first, 1, 'whoever asked before has what there was')
    assert.deepEqual(seldom.known()?.value, 2)
  })

  test('is not asked by whoever only wants what is known', () => {
    const { seldom, asked } = question()
    assert.equal(seldom.known(), undefined)
    assert.equal(asked.length, 0)
  })
})
