import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createSessions, SESSION_MS } from '../../../src/http/dashboard/session.ts'

const TOKEN = 'a-token-of-more-than-16'

describe('a session', () => {
  test('is known to every instance with the token, until it is over', () => {
    let now = 1_000
    const here = createSessions(TOKEN, () => now)
    const there = createSessions(TOKEN, () => now)
    const cookie = here.open('Ann')
    assert.equal(there.read(cookie)?.name, 'Ann')
    now += SESSION_MS
    assert.equal(there.read(cookie), undefined)
  })

  test('ends with its token, and is not to be changed', () => {
    const sessions = createSessions(TOKEN)
    const cookie = sessions.open('Ann')
    assert.equal(createSessions(`${TOKEN}x`).read(cookie), undefined)
    const [body = '', signature = ''] = cookie.split('.')
    const forged = Buffer.from(JSON.stringify({ name: 'Eve', number: 'n', endsAt: 9e15 })).toString(
      'base64url',
    )
    for (const text of [
      `${forged}.${signature}`,
      `${body}.`,
      body,
      '',
      '.',
      `${cookie}.x`,
      `${body}.${signature}x`,
    ])
      assert.equal(sessions.read(text), undefined, text)
    assert.equal(sessions.read(undefined), undefined)
  })

  test('is not what something else was signed for', () => {
    const sessions = createSessions(TOKEN)
    const said = sessions.sign(JSON.stringify({ name: 'Eve', number: 'n', endsAt: 9e15 }))
    assert.equal(sessions.read(said), undefined)
    assert.equal(sessions.unsign(sessions.open('Ann')), undefined)
  })

  test('has a form token of its own', () => {
    const sessions = createSessions(TOKEN)
    const [ann, bob] = [sessions.read(sessions.open('Ann')), sessions.read(sessions.open('Bob'))]
    assert.ok(ann !== undefined && bob !== undefined)
    assert.ok(sessions.isFormToken(ann, sessions.formToken(ann)))
    assert.ok(!sessions.isFormToken(bob, sessions.formToken(ann)))
    assert.ok(!sessions.isFormToken(ann, undefined))
  })
})
