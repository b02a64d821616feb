import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Socket } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { CERTIFICATE, KEY } from '../../support/certificate.ts'
import type { Reaction } from '../../support/receiver.ts'
import { freePort } from '../../support/port.ts'
import { until } from '../../support/until.ts'
import { delivering, NO_CIRCUIT } from './fixture.ts'
import type { Choices } from './fixture.ts'

const TLS = { cert: CERTIFICATE, key: KEY }

/** One message, and a target that always reacts so; with what it ended, and how often it arrived. */
async function fateOf(t: TestContext, reaction: Reaction, choices: Choices = {}, ends = /^(DONE|DEAD)/) {
  const { send, fates, lastErrors, target, processor, log } = await delivering(t, {
    circuit: NO_CIRCUIT,
    maxAttempts: 2,
    ...choices,
  })
  target.react(() => reaction)
  await send('a')
  processor.start()
  const fate = await until('an end', async () => {
    const { a = '' } = await fates()
    return ends.test(a) ? a : undefined
  })
  return { fate, error: (await lastErrors())['a'], arrivals: target.arrivals.length, url: target.url, log }
}

const at = /from http:\/\/127\.0\.0\.1:\d+/

describe('a status', () => {
  for (const status of [200, 201, 202, 204, 299]) {
    test(`${status} is success`, async (t) => {
      assert.deepEqual((await fateOf(t, status)).fate, 'DONE 1')
    })
  }
  for (const status of [400, 401, 403, 404, 410, 413, 422, 451]) {
    test(`${status} is the end: DEAD at once, with attempts left`, async (t) => {
      const { fate, error, arrivals } = await fateOf(t, status)
      assert.deepEqual([fate, arrivals], ['DEAD 1', 1])
      assert.match(error ?? '', new RegExp(`^DeliveryRefused: ${status} from`))
    })
  }
  for (const status of [300, 304, 408, 425, 429, 500, 501, 502, 503, 504, 599]) {
    test(`${status} is tried again, as often as there are attempts`, async (t) => {
      const { fate, error, arrivals } = await fateOf(t, status)
      assert.deepEqual([fate, arrivals], ['DEAD 2', 2])
      assert.match(error ?? '', new RegExp(`^DeliveryFailed: ${status} from`))
    })
  }
})

test('a redirect is not followed, wherever it leads', async (t) => {
  const seen: string[] = []
  const { fate, error, url } = await fateOf(t, (answer, arrival) => {
    seen.push(arrival.path)
    answer.writeHead(307, { location: '/elsewhere' }).end()
  })
  assert.equal(fate, 'DEAD 2')
  assert.match(error ?? '', /^DeliveryFailed: 307 from .*: a redirect, which is not followed/)
  const { pathname, search } = new URL(url)
  assert.deepEqual(seen, [`${pathname}${search}`, `${pathname}${search}`])
})

describe('the text of an answer', () => {
  const says = (text: string, status = 422) =>
    ((answer) => answer.writeHead(status).end(text)) satisfies Reaction

  test('is kept as its first line', async (t) => {
    const { error } = await fateOf(t, says('\n  the clinic is closed  \nat line 2'))
    assert.match(error ?? '', /^DeliveryRefused: 422 from http:\/\/127\.0\.0\.1:\d+: the clinic is closed$/)
  })

  test('is kept without secrets, payloads and places, and never with the address in full', async (t) => {
    const { error } = await fateOf(
      t,
      says('token=abc {"name":"Ann"} whsec_c2VjcmV0 in /srv/app/index.js Bearer abcdefgh12345'),
    )
    assert.doesNotMatch(error ?? '', /abc|Ann|c2VjcmV0|srv|hooks|hidden/)
  })

  test('is kept without the secret of the delivery, whatever the target gives back', async (t) => {
    const { error } = await fateOf(t, (answer, _, __, secret) =>
      answer.writeHead(422).end(`no key ${secret.slice('whsec_'.length)} of that name`),
    )
    assert.match(error ?? '', /: no key \[redacted\] of that name$/)
  })

  test('is kept without what the address holds, as it stands there and as the target reads it', async (t) => {
    const secrets = ['ann+li', 'p%40ss', 'p@ss', 'to%2Fken=1', 'to/ken=1', 'of+two', 'of two', 'bare-word']
    const basic = Buffer.from('ann+li:p@ss').toString('base64')
    const { error, fate } = await fateOf(t, says(`no: ${[basic, ...secrets].join(' | ')} end`), {
      url: (at) =>
        at.replace('//', '//ann+li:p%40ss@').replace('key=hidden', 'v=1&key=to%2Fken=1&k=of+two&bare-word'),
    })
    assert.equal(fate, 'DEAD 1')
    const left = Array.from({ length: 9 }, () => '[redacted]').join(' | ')
    assert.match(error ?? '', new RegExp(`: no: ${left.replace(/[[\]|]/g, '\\$&')} end$`))
  })

  test('that is huge is read in part, and its connection closed', { timeout: 60_000 }, async (t) => {
    let written = 0
    let closed = false
    const { fate, error } = await fateOf(t, (answer) => {
      answer.on('close', () => (closed = true))
      answer.writeHead(500)
      const more = (): void => {
        while (!answer.destroyed && answer.write('x'.repeat(65_536))) written += 65_536
      }
      answer.on('drain', more)
      more()
    })
    assert.equal(fate, 'DEAD 2')
    await until('the connection to be closed', () => closed)
    assert.ok(written < 64 * 1024 * 1024, `${written} bytes were written`)
    assert.ok((error ?? '').length <= 200)
  })

  test('of success may be huge: as much as is looked at has come', async (t) => {
    const { fate } = await fateOf(t, (answer) => {
      answer.writeHead(200)
      const more = (): void => {
        while (!answer.destroyed && answer.write('x'.repeat(65_536)));
      }
      answer.on('drain', more)
      more()
    })
    assert.equal(fate, 'DONE 1')
  })
})

describe('a target that', () => {
  const broken = async (t: TestContext, reaction: Reaction, expected: RegExp, choices: Choices = {}) => {
    const { fate, error, arrivals } = await fateOf(t, reaction, choices)
    assert.deepEqual([fate, arrivals], ['DEAD 2', 2])
    assert.match(error ?? '', expected)
    assert.match(error ?? '', at)
  }

  test('resets the connection before it answers: tried again', (t) =>
    broken(t, (_, __, socket) => socket.resetAndDestroy(), /^DeliveryBroken: \[ECONNRESET\]/))

  test('closes the connection before it answers: tried again', (t) =>
    broken(t, (_, __, socket) => socket.destroy(), /^DeliveryBroken: \[ECONNRESET\]/))

  test('resets the connection in the middle of a success: tried again', (t) =>
    broken(
      t,
      (answer, _, socket) => {
        answer.writeHead(200, { 'content-length': '100' }).write('half')
        setImmediate(() => socket.resetAndDestroy())
      },
      /^DeliveryBroken: \[ECONNRESET\]/,
    ))

  test('ends in the middle of a chunked success: tried again', (t) =>
    broken(
      t,
      (answer, _, socket) => {
        answer.writeHead(200).write('half')
        setImmediate(() => socket.end())
      },
      /^DeliveryBroken: /,
    ))

  test('does not answer: tried again after the timeout', (t) =>
    broken(t, () => undefined, /^DeliveryTimeout: no whole answer within 200 ms/, { timeoutMs: 200 }))

  test('sends its headers one byte after another, for ever: tried again after the timeout', (t) =>
    broken(t, (_, __, socket) => drip(socket, 'HTTP/1.1 200 OK\r\nx-pad: '), /^DeliveryTimeout: /, {
      timeoutMs: 300,
    }))

  test('sends a success that does not end: tried again after the timeout', (t) =>
    broken(
      t,
      (_, __, socket) => drip(socket, 'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n'),
      /^DeliveryTimeout: /,
      { timeoutMs: 300 },
    ))

  test('answers what is not HTTP: tried again', (t) =>
    broken(t, (_, __, socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n\r\n'), /^DeliveryBroken: \[HPE_/))

  test('answers with headers without end: tried again', (t) =>
    broken(
      t,
      (_, __, socket) => socket.end(`HTTP/1.1 200 OK\r\nx: ${'x'.repeat(100_000)}\r\n\r\n`),
      /^DeliveryBroken: \[HPE_HEADER_OVERFLOW\]/,
    ))

  test('answers with another protocol: tried again', (t) =>
    broken(
      t,
      (_, __, socket) =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
      /^DeliveryBroken: the answer asks for another protocol/,
    ))

  test('refuses with a text that does not end: its status is enough', async (t) => {
    const { fate, error } = await fateOf(
      t,
      (_, __, socket) => drip(socket, 'HTTP/1.1 422 No\r\ncontent-length: 1000\r\n\r\nno '),
      { timeoutMs: 300 },
    )
    assert.equal(fate, 'DEAD 1')
    assert.match(error ?? '', /^DeliveryRefused: 422 from \S+: no x/)
  })
})

describe('a target that is not reached costs no attempt, and is tried again:', () => {
  // More often than any other interruption may come in a row before an attempt counts.
  const unreached = async (t: TestContext, choices: Choices, code: RegExp) => {
    const { fate, error, arrivals } = await fateOf(t, 200, choices, /\+(2[1-9]|[3-9]\d)$/)
    assert.match(fate, /^(NEW 0|PROCESSING 1) /)
    assert.equal(arrivals, 0)
    assert.match(error ?? '', code)
  }

  test('nobody listens', async (t) => {
    const port = await freePort()
    await unreached(t, { url: () => `http://127.0.0.1:${port}/` }, /^DeliveryUnreachable: \[ECONNREFUSED\]/)
  })

  test('its network is not there', (t) =>
    unreached(
      t,
      { url: () => 'http://255.255.255.255:9/' },
      /^DeliveryUnreachable: \[(EACCES|ENETUNREACH)\]/,
    ))

  test('it has a certificate that nobody vouches for', (t) =>
    unreached(t, { tls: TLS }, /^DeliveryUnreachable: \[DEPTH_ZERO_SELF_SIGNED_CERT\]/))

  test("its name is nobody's", (t) =>
    unreached(t, { url: () => 'http://nobody.invalid/' }, /^DeliveryUnreachable: \[(ENOTFOUND|EAI_AGAIN)\]/))
})

describe('TLS', () => {
  /** What the system vouches for, and the certificate of the tests. */
  const trusting = (t: TestContext): void => {
    const before = getCACertificates('default')
    setDefaultCACertificates([...before, TLS.cert])
    t.after(() => setDefaultCACertificates(before))
  }

  test('is spoken where the address begins with https:', async (t) => {
    trusting(t)
    const url = (ofReceiver: string): string => ofReceiver.replace('127.0.0.1', 'localhost')
    const { fate, arrivals } = await fateOf(t, 200, { tls: TLS, url })
    assert.deepEqual([fate, arrivals], ['DONE 1', 1])
  })

  test('with a certificate of another name is not spoken: nothing is sent', async (t) => {
    trusting(t)
    const { error, arrivals } = await fateOf(t, 200, { tls: TLS }, /\+/)
    assert.match(error ?? '', /^DeliveryUnreachable: \[ERR_TLS_CERT_ALTNAME_INVALID\]/)
    assert.equal(arrivals, 0)
  })

  test('with a target that does not know it: nothing is sent', async (t) => {
    const url = (ofReceiver: string): string => ofReceiver.replace('http:', 'https:')
    const { error, arrivals } = await fateOf(t, 200, { url }, /\+/)
    assert.match(error ?? '', /^DeliveryUnreachable: /)
    assert.equal(arrivals, 0)
  })
})

/** Writes a byte every 20 ms for as long as the other side listens. */
function drip(socket: Socket, first: string): void {
  socket.write(first)
  const timer = setInterval(() => socket.write('x'), 20)
  socket.on('error', () => undefined).on('close', () => clearInterval(timer))
}
