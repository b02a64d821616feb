import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DatabaseError } from 'pg'
import { cleanError, cleanText, errorText } from '../../src/telemetry/errorText.ts'

function withCode<E extends Error>(error: E, code: string): E {
  return Object.assign(error, { code })
}

describe('the text of an error', () => {
  test('is its class and its first line, never its stack', () => {
    const error = new RangeError('first line\n    at somewhere (/app/src/index.ts:1:2)')
    assert.deepEqual(cleanError(error), { class: 'RangeError', text: 'first line' })
    assert.equal(errorText(error), 'RangeError: first line')
  })

  test('names a system error by its code and puts the SQLSTATE before a database error', () => {
    assert.deepEqual(cleanError(withCode(new Error('connect ECONNREFUSED 127.0.0.1:5432'), 'ECONNREFUSED')), {
      class: 'ECONNREFUSED',
      text: 'connect ECONNREFUSED 127.0.0.1:5432',
    })
    assert.deepEqual(cleanError(withCode(new DatabaseError('deadlock detected', 0, 'error'), '40P01')), {
      class: 'DatabaseError',
      text: '[40P01] deadlock detected',
    })
  })

  test('of two failed addresses is that of the first', () => {
    const both = withCode(
      new AggregateError([new Error('connect ::1'), new Error('connect 127.0.0.1')]),
      'ECONNREFUSED',
    )
    assert.deepEqual(cleanError(both), { class: 'ECONNREFUSED', text: 'connect ::1' })
  })

  test('has the name of a class, and nothing else that an error calls its name', () => {
    const named = (name: unknown) => cleanError(Object.assign(new RangeError('x'), { name })).class
    assert.equal(named('OrderTooLarge'), 'OrderTooLarge')
    assert.equal(named('Größe.Überlauf$1'), 'Größe.Überlauf$1')
    for (const bad of ['postgres://u:hunter2@h/db', 'two words', 'a\nb', '', 'N'.repeat(1e6), null, 7, {}])
      assert.equal(named(bad), 'RangeError', JSON.stringify(bad).slice(0, 40))
    const oddClass = Object.defineProperty(class extends Error {}, 'name', { value: '/etc/passwd x' })
    assert.equal(cleanError(Object.assign(new oddClass('x'), { name: null })).class, 'Error')
  })

  test('is 200 characters at most', () => {
    const { text } = cleanError(new Error('x'.repeat(5000)))
    assert.equal(text.length, 200)
    assert.equal(errorText(new Error('x'.repeat(5000))).length, 200)
  })

  test('can be had of whatever was thrown', () => {
    assert.deepEqual(
      ['text', undefined, null, 7, { message: 'm' }, {}].map((thrown) => errorText(thrown)),
      [
        'string: text',
        'undefined: undefined',
        'null: null',
        'number: 7',
        'object: m',
        'object: an object was thrown',
      ],
    )
  })
})

describe('cleaning replaces', () => {
  const cases: [what: string, given: string, expected: string][] = [
    ['a connection string', 'no postgres://u:p%40x@h:5432/db?x=1 here', 'no [connection string] here'],
    ['one without a user', 'postgresql://h/db', '[connection string]'],
    ['one of another system', 'redis://:pw@h:6379/0 failed', '[connection string] failed'],
    ['a password word', 'host=h password=secret dbname=d', 'host=h password=[redacted] dbname=d'],
    ['an absolute path', "open '/home/me/app/x.json' failed", "open '[path]' failed"],
    ['a path with a line', 'at /srv/app/x.ts:10:3 it broke', 'at [path] it broke'],
    ['a Windows path', 'open C:\\Users\\me\\x.txt', 'open [path]'],
    ['a secret after a colon', 'Password: hunter2 refused', 'Password=[redacted] refused'],
    [
      'a secret at the end of a name',
      'GET /x?access_token=a1b2&n=1 failed',
      'GET /x?access_token=[redacted]&n=1 failed',
    ],
    ['a variable', 'env PGPASSWORD=hunter2 refused', 'env PGPASSWORD=[redacted] refused'],
    [
      'a key of a cloud',
      'AWS_SECRET_ACCESS_KEY=wJal/rXUt is refused',
      'AWS_SECRET_ACCESS_KEY=[redacted] is refused',
    ],
    ['a passphrase', 'private_key: k1, passphrase: p1', 'private_key=[redacted], passphrase=[redacted]'],
    ['a secret in JSON', 'sent "clientSecret":"a b", got 401', 'sent "clientSecret=[redacted], got 401'],
    ['a bearer token', 'sent Bearer abcdefgh.ijk to it', 'sent [redacted] to it'],
    ['a key by its prefix', 'key sk_live_abc123 expired', 'key [redacted] expired'],
    ['a file address', 'Cannot find module file:///app/x.ts', 'Cannot find module [path]'],
  ]
  for (const [what, given, expected] of cases) {
    test(what, () => assert.equal(cleanText(given), expected))
  }

  test('nothing else', () => {
    const plain = 'GET https://api.example.com/v1/orders said 503: 1/2 and/or 3 at /health, a/b/c'
    assert.equal(cleanText(plain), plain)
  })
})

describe('the text of an error keeps no value that it quotes:', () => {
  const dataError = (code: string, message: string): Error => Object.assign(new Error(message), { code })
  const thrownBy = (act: () => unknown): unknown => {
    try {
      return act()
    } catch (error) {
      return error
    }
  }
  const cases: [what: string, error: unknown, expected: string][] = [
    ['an object as JSON', new Error('bad {"card":"4111","n":[1]} today'), 'bad [object] today'],
    ['an object that was cut', new Error('bad [{"card":"41'), 'bad [object]'],
    ['an object as inspect prints it', new Error("bad { card: '4111' }"), 'bad [object]'],
    ['what is no JSON', thrownBy(() => JSON.parse('CARD 4111')), "Unexpected token 'C', [value]"],
    [
      'a value of the wrong type',
      dataError('22P02', 'invalid input syntax for type integer: "4111x"'),
      'invalid input syntax for type integer: [value]',
    ],
    [
      'a value out of range',
      dataError('22003', 'value "99999999999" is out of range for type integer'),
      'value [value] is out of range for type integer',
    ],
    [
      'but keeps names',
      dataError('42703', 'column "state" of relation "orders" does not exist'),
      'column "state" of relation "orders" does not exist',
    ],
    [
      'and brackets that hold no object',
      new Error('[retry] of {name} in a[0]: no'),
      '[retry] of {name} in a[0]: no',
    ],
  ]
  for (const [what, error, expected] of cases) {
    test(what, () => assert.equal(cleanError(error).text, expected))
  }
})

test('a JSON Web Token is a secret wherever it stands, and a name with these letters is none', () => {
  const token = `eyJhbGciOiJIUzI1NiJ9.${'p'.repeat(9_000)}.sig-nature_1`
  for (const before of ['', 'said ', 'id=', '-', 'x-'])
    assert.doesNotMatch(cleanText(`${before}${token} no`), /eyJ|ppp|nature/)
  assert.equal(cleanText('greyjoy.example.com'), 'greyjoy.example.com')
})

test('a long text takes a time that grows with its length and not with its square', () => {
  for (const part of ['a.', '://', 'a://', '-eyJ', 'token=', '/a', "pwd='", 'basic ']) {
    const text = part.repeat(50_000)
    const startedAt = performance.now()
    cleanText(text)
    const tookMs = performance.now() - startedAt
    assert.ok(tookMs < 2_000, `${JSON.stringify(part)}: ${tookMs} ms`)
  }
})
