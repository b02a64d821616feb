/**
 * One POST, from its first byte to the last that is read of the answer.
 *
 * node:http rather than fetch: fetch sends headers of browsers (`sec-fetch-mode`), refuses some ports, and does not tell a
 * connection that was never made from one that broke when the message was on its way. That difference is ours to know:
 * what was never sent is nobody's attempt.
 */
import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { errorCode } from '../../kit/errorCode.ts'
import { startLimit } from '../../kit/limit.ts'

/** Of an answer no more is read than this: enough for its first line, and for most to end by themselves. */
const READ_BYTES = 4_096

/** Idle connections are closed before most servers close theirs, unless a server says its own time (`Keep-Alive`). */
const IDLE_MS = 4_000

/** A connection that was closed already is reset one way to the server and back later; what takes longer was read. */
const AT_ONCE_MS = 100

/** A header line more than this is no answer of a webhook's receiver. */
const MAX_HEADER_BYTES = 16_384

export interface Post {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly timeoutMs: number
  /** Ends it; the request rejects with the signal's reason. */
  readonly signal: AbortSignal
}

export interface Answer {
  readonly status: number
  /** The beginning of the body, as text. */
  readonly text: string
  readonly retryAfter: string | undefined
  readonly date: string | undefined
}

interface HowUnanswered {
  /** Whether a part of the message may have left this process. */
  readonly sent: boolean
  readonly timedOut: boolean
  /** A connection that had lain idle was found closed. */
  readonly idleLost: boolean
}

/** There was no answer, or no whole one; `cause` is Node's error, undefined when the time was up. */
export class Unanswered extends Error {
  override readonly name = 'Unanswered'
  readonly sent: boolean
  readonly timedOut: boolean
  readonly idleLost: boolean
  constructor({ sent, timedOut, idleLost }: HowUnanswered, cause: unknown) {
    super('no answer', { cause })
    this.sent = sent
    this.timedOut = timedOut
    this.idleLost = idleLost
  }
}

/** Connections to one target, kept open between requests. */
export type Connections = HttpAgent | HttpsAgent

export function openConnections(url: URL, most: number): Connections {
  const options = {
    keepAlive: true,
    maxSockets: most,
    maxFreeSockets: most,
    timeout: IDLE_MS,
    scheduling: 'lifo',
  } as const
  return url.protocol === 'https:' ? new HttpsAgent(options) : new HttpAgent(options)
}

/**
 * Sends once; a second time, over a connection of its own and within the same limit, when the server had closed the idle
 * connection that was taken: then it has not read what was written. So it seems, for a message that ends its receiver looks
 * the same. If nobody is there the second time, what is known is that it was sent.
 *
 * @throws {Unanswered}, or the reason of the signal.
 */
export async function post(wanted: Post, connections: Connections): Promise<Answer> {
  const since = performance.now()
  try {
    return await attempt(wanted, connections)
  } catch (first) {
    const timeoutMs = wanted.timeoutMs - (performance.now() - since)
    if (!(first instanceof Unanswered) || !first.idleLost || wanted.signal.aborted || timeoutMs <= 0)
      throw first
    return attempt({ ...wanted, timeoutMs }, undefined).catch((second: unknown) => {
      throw second instanceof Unanswered && !second.sent ? first : second
    })
  }
}

async function attempt(wanted: Post, connections: Connections | undefined): Promise<Answer> {
  const { url, headers, body, timeoutMs, signal } = wanted
  signal.throwIfAborted()
  const secure = url.protocol === 'https:'
  const bytes = Buffer.from(body)
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const request: ClientRequest = (secure ? httpsRequest : httpRequest)({
    ...place(url),
    method: 'POST',
    headers: { ...headers, 'content-length': bytes.byteLength },
    agent: connections ?? false,
    maxHeaderSize: MAX_HEADER_BYTES,
  })
  let sent = false
  let takenAt = 0
  let answer: Answer | undefined

  /** An answer that says no has said so with its status; one that says yes must come to its end. */
  const breakOff = (how: 'in time' | 'too late', cause?: unknown): void => {
    if (answer !== undefined && !isSuccess(answer.status)) resolve(answer)
    else {
      const idleLost =
        request.reusedSocket &&
        answer === undefined &&
        LOST_IDLE.has(errorCode(cause) ?? '') &&
        performance.now() - takenAt <= AT_ONCE_MS
      reject(new Unanswered({ sent, timedOut: how === 'too late', idleLost }, cause))
    }
    request.destroy()
  }
  const endLimit = startLimit(timeoutMs, () => breakOff('too late'))
  const onAbort = (): void => {
    reject(signal.reason)
    request.destroy()
  }
  signal.addEventListener('abort', onAbort, { once: true })
  request.on('error', (error) => breakOff('in time', error))
  request.on('socket', (socket) => {
    takenAt = performance.now()
    // Connected already: it lay idle, or another request has just left it. One that cannot even be tried is destroyed.
    if (request.reusedSocket || (!socket.connecting && !socket.destroyed)) sent = true
    else socket.once(secure ? 'secureConnect' : 'connect', () => (sent = true))
  })
  request.on('response', (response) => {
    const { statusCode: status = 0, headers: told } = response
    const read = (text: string): void =>
      void (answer = { status, text, retryAfter: told['retry-after'], date: told.date })
    read('')
    void readBeginning(response, read).then(
      () => answer !== undefined && resolve(answer),
      (error: unknown) => breakOff('in time', error),
    )
  })
  // Without this, the socket of an answer that asks for another protocol would stay with nobody.
  request.on('upgrade', (_response, socket) => {
    socket.destroy()
    breakOff('in time', new Error('the answer asks for another protocol'))
  })
  request.end(bytes)
  try {
    return await promise
  } finally {
    endLimit()
    signal.removeEventListener('abort', onAbort)
  }
}

export function isSuccess(status: number): boolean {
  return status >= 200 && status < 300
}

const LOST_IDLE: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE'])

function place({ protocol, hostname, port, pathname, search }: URL) {
  // A URL has an IPv6 address in brackets, a socket has it without.
  return { protocol, hostname: hostname.replace(/^\[(.*)\]$/, '$1'), port, path: `${pathname}${search}` }
}

/** Reads a body to its end, or as much as is looked at: then the connection is closed, whatever else would come. */
async function readBeginning(response: IncomingMessage, read: (text: string) => void): Promise<void> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    bytes += chunk.byteLength
    read(Buffer.concat(chunks).subarray(0, READ_BYTES).toString())
    if (bytes >= READ_BYTES) return // leaving the loop destroys the response, and its connection with it
  }
}
