import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deliverOne } from 'tidemark/testing'
import config from '../tidemark.config.ts'
import type { OrdersPayload } from './orders.ts'

// Each test has a real database: one of its own, which is dropped at its end.

// init:sample
const payload: OrdersPayload = { item: 'tea' }
// init:end

test('a message of orders is handled', async () => {
  const outcome = await deliverOne(config, { processor: 'orders_processor', payload })
  assert.equal(outcome.status, 'DONE', outcome.error)
})

test('a message of orders that is no object fails, and will be tried again', async () => {
  const outcome = await deliverOne(config, { processor: 'orders_processor', payload: 'tea' })
  assert.equal(outcome.status, 'FAILED')
  assert.match(outcome.error ?? '', /the payload is no object/)
})
