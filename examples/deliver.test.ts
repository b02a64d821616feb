import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { assertDone, assertFailed, testDatabase, testRunner } from 'tidemark/testing'
import { isGenuine, shop } from './shop.ts'

test('a parcel is told to the partner, signed, and again when the partner was away', async (t) => {
  const secret = `whsec_${Buffer.from('0123456789abcdef0123456789abcdef').toString('base64')}`
  const heard: string[] = []
  let isAway = true
  const partner = createServer((request, answer) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      if (!isGenuine(secret, request.headers, body)) answer.writeHead(401).end()
      else if (isAway) answer.writeHead(503).end()
      else {
        heard.push(body)
        answer.writeHead(204).end()
      }
    })
  })
  await once(partner.listen(0, '127.0.0.1'), 'listening')
  t.after(() => partner.close())
  const database = await testDatabase()
  t.after(() => database.close())

  const { port } = partner.address() as AddressInfo
  const url = `http://127.0.0.1:${port}/parcels`
  const runner = testRunner(shop({ partner: { url, secret } }), { database })
  await runner.receive('parcels', { messageId: 'parcel-1', payload: { item: 'tea' } })

  assertFailed(await runner.processOne('telling'), /503/)
  isAway = false
  await runner.clock.advance('5m')
  assertDone(await runner.processOne('telling'))
  assert.deepEqual(heard, ['{"item":"tea"}'])
})
