import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createChance } from '../../src/rehearse/chance.ts'

test('a seed chooses the same again, another seed otherwise, and every choice comes up', () => {
  const choices = (seed: number): string => {
    const chance = createChance(seed)
    return Array.from({ length: 40 }, () => chance.pick(['a', 'b', 'c']) ?? '-').join('')
  }
  assert.equal(choices(7), choices(7))
  assert.notEqual(choices(7), choices(8))
  assert.match(choices(7), /^(?=.*a)(?=.*b)(?=.*c)[abc]{40}$/)
})
