import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { IntakeFault } from '../../src/http/intakeFault.ts'
import { MAX_DEPTH } from '../../src/http/intakeScan.ts'
import { MAX_MESSAGES, parseMessages } from '../../src/http/intakeMessages.ts'

/** The field that a body is refused for. */
function fieldOf(body: string): string | undefined {
  try {
    parseMessages(body)
  } catch (error) {
    assert.ok(error instanceof IntakeFault)
    assert.equal(error.status, 400)
    return error.field
  }
  return undefined
}

const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)
const withPayload = (payload: string): string =>
  `[{"message_id":"a","payload":1},{"message_id":"b","payload":${payload}}]`

describe('a body is refused by the name of the field', () => {
  for (const [what, body, field] of [
    ['broken JSON', '{"message_id":', 'body'],
    ['neither message nor array', '"a"', 'body'],
    ['an array of something else', '[{"message_id":"a","payload":1},7]', '[1]'],
    ['no message_id', '{"payload":1}', 'message_id'],
    ['no message_id further back', '[{"message_id":"a","payload":1},{"payload":1}]', '[1].message_id'],
    ['an empty message_id', '{"message_id":"","payload":1}', 'message_id'],
    ['a number as message_id', '{"message_id":7,"payload":1}', 'message_id'],
    ['a message_id that no index holds', `{"message_id":"${'ä'.repeat(1_301)}","payload":1}`, 'message_id'],
    ['\\u0000 in message_id', '{"message_id":"a\\u0000","payload":1}', 'message_id'],
    ['a group_key that is no text', '{"message_id":"a","group_key":7,"payload":1}', 'group_key'],
    [
      'a group_key that is too long',
      `{"message_id":"a","group_key":"${'k'.repeat(513)}","payload":1}`,
      'group_key',
    ],
    ['no payload', '{"message_id":"a"}', 'payload'],
    ['a misspelt field', '{"message_id":"a","groupKey":"k","payload":1}', 'groupKey'],
    ['\\u0000 deep in a payload', withPayload('{"a":[1,{"b":"x\\u0000"}]}'), '[1].payload.a[1].b'],
    ['\\u0000 in a key', withPayload('{"a\\u0000":1}'), '[1].payload.a\\u0000'],
    ['half a surrogate pair', withPayload('"\\ud83d"'), '[1].payload'],
    ['a number beyond numeric', withPayload('{"n":1e400000}'), '[1].payload.n'],
    ['a number of too many places', withPayload('1e-20000'), '[1].payload'],
    ['a number of too many digits', withPayload(`[1,${'9'.repeat(131_073)}]`), '[1].payload[1]'],
    ['a short number that is long when written out', withPayload('[1e999,1e1000]'), '[1].payload[1]'],
    ['many of those that are just short enough', withPayload(`[${'1e999,'.repeat(20_000)}1]`), 'body'],
    [
      'what lies beyond keys and escapes',
      withPayload('{"b":[[]],"a\\"":{"\\u00e4":["",{},"\\u0000"]}}'),
      '[1].payload.a".ä[2]',
    ],
    [
      'what lies in a second payload',
      '{"payload":1,"message_id":"a","p\\u0061yload":{"n":1e1000}}',
      'payload.n',
    ],
    ['the second half of a pair alone', withPayload('"\\ud83d\\ud83d\\udc4b"'), '[1].payload'],
    ['deep nesting', withPayload(nested(MAX_DEPTH + 1)), `[1].payload${'[0]'.repeat(MAX_DEPTH)}`],
    [
      'nesting that would fill a stack',
      withPayload(nested(200_000)),
      `[1].payload${'[0]'.repeat(MAX_DEPTH)}`,
    ],
    ['very many values', withPayload(`[${'1,'.repeat(250_000)}1]`), 'body'],
    [
      'too many messages',
      `[${Array.from({ length: MAX_MESSAGES + 1 }, (_, i) => `{"message_id":"${i}","payload":1}`).join(',')}]`,
      'body',
    ],
  ] as const) {
    test(what, () => assert.equal(fieldOf(body), field.slice(0, 200)))
  }
})

describe('a payload is kept', () => {
  test('with every digit of its numbers', () => {
    for (const payload of [
      '12345678901234567890',
      '0.1234567890123456789',
      '[1e400,{"a":-12345678901234567890.5}]',
      '[1.10,-0.0,1E-7]',
      '9'.repeat(131_072),
    ]) {
      assert.equal(parseMessages(`{"message_id":"a","payload":${payload}}`)[0]?.payload, payload)
    }
  })

  test('whose key is written otherwise, stands between others, comes twice, or has something like it inside', () => {
    for (const [body, payload] of [
      ['{"p\\u0061yload":[1],"message_id":"a"}', '[1]'],
      ['{"payload": {"payload":2} ,"message_id":"payload"}', '{"payload":2}'],
      ['{"payload":"\\u0000","message_id":"a","payload":"}],\\"payload\\":"}', '"}],\\"payload\\":"'],
      [' [\n{ "message_id" : "a" , "payload" :\t[ [ ] , { } ]\n} ] ', '[ [ ] , { } ]'],
    ] as const) {
      assert.equal(parseMessages(body)[0]?.payload, payload)
    }
    const many =
      '[{"message_id":"a","payload":1},{"payload":[2,3],"message_id":"b"},{"message_id":"c","payload":4}]'
    assert.deepEqual(
      parseMessages(many).map(({ payload }) => payload),
      ['1', '[2,3]', '4'],
    )
  })

  test('whatever it is, and however it is set', () => {
    const payloads = fc.array(fc.jsonValue({ maxDepth: 4 }), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(payloads, fc.constantFrom(0, 1, '\t'), fc.boolean(), (values, indent, isFirst) => {
        const messages = values.map((payload, n) =>
          isFirst ? { payload, message_id: String(n) } : { message_id: String(n), payload },
        )
        const taken = parseMessages(JSON.stringify(messages, null, indent))
        // As JSON has it: it knows no -0.
        assert.deepEqual(
          taken.map(({ payload }) => JSON.parse(payload) as unknown),
          JSON.parse(JSON.stringify(values)),
        )
      }),
    )
  })

  test('at a cost that no escape or number makes much higher', () => {
    const costOf = (first: string, other: string): number => {
      const body = `{"message_id":"a","payload":[${first}${`,${other}`.repeat(100_000)}]}`
      const times = Array.from({ length: 5 }, () => {
        const startedAt = performance.now()
        parseMessages(body)
        return performance.now() - startedAt
      })
      return Math.min(...times)
    }
    const plain = costOf('1', '1')
    for (const [first, other] of [
      ['"\\u00fc"', '1'],
      ['"\\ud83d\\udc4b"', '1'],
      ['1e5', '1'],
      ['1', '1e5'],
    ] as const) {
      const cost = costOf(first, other)
      assert.ok(cost < 6 * plain + 20, `${first}, and ${other}: ${cost} ms, without them ${plain} ms`)
    }
  })

  test('with escapes, emoji, a key __proto__ and nesting up to the limit', () => {
    for (const payload of ['"\\u00e4 👋 \\ud83d\\udc4b"', '{"__proto__":{"a":1}}', nested(MAX_DEPTH - 2)]) {
      const [message] = parseMessages(`{"message_id":"\\u00e4","payload":${payload}}`)
      assert.deepEqual(JSON.parse(message?.payload ?? ''), JSON.parse(payload))
      assert.equal(message?.messageId, 'ä')
    }
  })
})
