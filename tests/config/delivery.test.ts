import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { resolveConfig } from '../../src/config/validate.ts'

const source = { table: 'service_ops.orders', id: 'order_id', createdAt: 'created_at' }
const deliver = { url: 'https://example.com/hooks', secret: `whsec_${'QUJD'.repeat(8)}` }

function faultTexts(config: unknown): string {
  try {
    resolveConfig(config)
    return ''
  } catch (error) {
    return error instanceof Error ? error.message : ''
  }
}

describe('a delivery', () => {
  const work = (given: object, more: object = {}) =>
    resolveConfig({
      pollers: { orders: { source } },
      processors: { a: { from: 'orders', ...more, deliver: { ...deliver, ...given } } },
    }).processors[0]?.work

  test('has a timeout of 30 s, or of its processor where that is shorter, and one secret or several', () => {
    const { url, secret } = deliver
    assert.deepEqual(work({}), { kind: 'deliver', url, secrets: [secret], timeoutMs: 30_000 })
    assert.deepEqual(work({}, { timeout: '10s', contract: 'external' }), {
      kind: 'deliver',
      url,
      secrets: [secret],
      timeoutMs: 10_000,
    })
    const other = `whsec_${'REVG'.repeat(8)}`
    assert.deepEqual(work({ secret: [secret, other], timeout: '1s' }), {
      kind: 'deliver',
      url,
      secrets: [secret, other],
      timeoutMs: 1_000,
    })
  })

  const refused = (given: object): string =>
    faultTexts({
      pollers: { orders: { source } },
      processors: { a: { from: 'orders', deliver: { ...deliver, ...given } } },
    })

  for (const secret of [
    undefined,
    '',
    'hush-hush',
    'whsec_',
    'whsec_hushhush',
    `whsec_${'QUJD'.repeat(7)}`,
    `whsec_${'QUJD'.repeat(22)}`,
    `whsec_${'QUJ*'.repeat(8)}`,
    'QUJD'.repeat(8),
    [],
    ['whsec_hushhush'],
  ])
    test(`with the secret ${JSON.stringify(secret)} is refused, by its name and without its value`, () => {
      const text = refused({ secret })
      assert.match(text, /processors\.a\.deliver\.secret(\.0)?: expected a signing secret: 'whsec_'/)
      assert.doesNotMatch(text, /hush|QUJ/)
    })

  for (const url of [
    'example.com',
    '/hooks',
    'ftp://ann:hush@example.com/',
    'file:///etc/passwd',
    'https://',
    'https://ann:hush100%@example.com/',
    'https://%ff:hush@example.com/',
    7,
  ])
    test(`to ${url} is refused, and the address not shown`, () => {
      const text = refused({ url })
      assert.match(text, /processors\.a\.deliver\.url: expected an address that begins with https:/)
      assert.doesNotMatch(text, /hush|passwd/)
    })

  test('that is an address alone is refused, and the address not shown', () => {
    const text = faultTexts({
      pollers: { orders: { source } },
      processors: { a: { from: 'orders', deliver: 'https://ann:hush@example.com/' } },
    })
    assert.match(text, /processors\.a\.deliver: expected object/)
    assert.doesNotMatch(text, /hush|example/)
  })
})
