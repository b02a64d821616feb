import assert from 'node:assert/strict'
import { test } from 'node:test'
import { announcer } from '../../src/runner/announcer.ts'
import { until } from '../support/until.ts'

function world(isTakenHere: boolean) {
  const told: string[] = []
  const announce = announcer(
    {
      query: (_, values) => {
        told.push(`notify ${String(values?.[0])}`)
        return Promise.reject(new Error('the database is away'))
      },
    },
    (source) => {
      told.push(`wake ${source}`)
      return isTakenHere
    },
  )
  return { told, announce }
}

test('where the rows are taken here, this instance begins with them before the others hear of them', async () => {
  const { told, announce } = world(true)
  announce('orders')
  assert.deepEqual(told, ['wake orders'])
  await until('the others to hear', () => told.length === 2)
  assert.deepEqual(told, ['wake orders', 'notify orders'])
})

test('where nobody takes them here, the others hear at once, and then now and then', async () => {
  const { told, announce } = world(false)
  announce('orders')
  assert.deepEqual(told, ['wake orders', 'notify orders'])
  announce('orders')
  announce('orders')
  assert.deepEqual(told.slice(2), ['wake orders', 'wake orders'])
  await until('the others to hear again', () => told.length === 5)
})
