import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { walk } from '../../../src/http/dashboard/walk.ts'

/** Rows 1 to `most`, of which `matches` are looked for; a row takes `rowMs` to look at. */
function world(most: number, matches: (id: number) => boolean, rowMs = 0) {
  const clock = { now: 0, looked: 0 }
  return {
    clock,
    walk: (below: number, limit = 3, floor = 0) =>
      walk<number>({
        below: String(below),
        floor: String(floor),
        limit,
        budgetMs: 100,
        now: () => clock.now,
        idOf: (id) => id,
        async step(step) {
          const rows: number[] = []
          let id = Math.min(most, Number(step.below) - 1)
          const end = Math.max(id - step.look - 1, Number(step.floor) - 1)
          for (; id > end && rows.length < step.limit && id > 0; id -= 1) {
            clock.looked += 1
            clock.now += rowMs
            if (matches(id)) rows.push(id)
          }
          return {
            reached: String(Math.max(Number(step.floor), Math.min(most, Number(step.below) - 1) - step.look)),
            rows,
          }
        },
      }),
  }
}

describe('a walk', () => {
  test('ends with a full page, and says where the next one begins', async () => {
    const { walk: from, clock } = world(100_000, () => true)
    assert.deepEqual(await from(100_001), { rows: [100_000, 99_999, 99_998], below: '99998', cut: false })
    assert.ok(clock.looked < 10)
  })

  test('gives every row once over its pages, none left out', async () => {
    const { walk: from } = world(30_000, (id) => id % 7_001 === 0, 0.001)
    const found: number[] = []
    for (let below: string | undefined = '30001'; below !== undefined;) {
      const page = await from(Number(below), 2)
      found.push(...page.rows)
      below = page.below
    }
    assert.deepEqual(found, [28_004, 21_003, 14_002, 7_001])
  })

  test('stops when the time is up, and says how far it looked', async () => {
    const { walk: from, clock } = world(10_000_000, () => false, 0.01)
    const page = await from(10_000_001)
    assert.ok(page.cut && page.rows.length === 0)
    assert.ok(clock.now < 1_000, `${clock.now} ms`)
    assert.equal(Number(page.below), 10_000_001 - clock.looked)
  })

  test('looks at nothing below its floor', async () => {
    const { walk: from, clock } = world(10_000, () => false)
    assert.deepEqual(await from(10_001, 3, 9_000), { rows: [], below: undefined, cut: false })
    assert.ok(clock.looked <= 1_001, String(clock.looked))
  })
})
