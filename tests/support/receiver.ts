import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Webhook } from 'standardwebhooks'
import type { Scope } from './scope.ts'

/** A delivery as it arrived, its signature verified. */
export interface Arrival {
  readonly id: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly payload: unknown
  /** By the monotonic clock. */
  readonly at: number
  /** The port at the other end: the same for requests on one connection. */
  readonly from: number | undefined
}

/** What is done with an arrival: a status, or anything that a socket lets do. */
export type Reaction =
  number | ((answer: ServerResponse, arrival: Arrival, socket: Socket, secret: string) => unknown)

export interface Receiver {
  readonly url: string
  readonly secret: string
  readonly arrivals: readonly Arrival[]
  /** How it reacts from now on; `time` says which arrival of this delivery it is, from 1 on. */
  react(how: (arrival: Arrival, time: number) => Reaction): void
  /** Connections that are open are reset when the next request comes on them: they were closed on its way. */
  resetIdle(): void
  /** Refuses connections until it is opened again, at the same address. */
  close(): Promise<void>
  open(): Promise<void>
}

export const newSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`

/** Somebody else's server: it verifies with the library of Standard Webhooks, and answers 401 to what it cannot verify. */
export async function receiver(scope: Scope, tls?: { cert: string; key: string }): Promise<Receiver> {
  const secret = newSecret()
  const arrivals: Arrival[] = []
  const verifier = new Webhook(secret)
  const sockets = new Set<Socket>()
  const doomed = new WeakSet<Socket>()
  let reaction: (arrival: Arrival, time: number) => Reaction = () => 200
  let port = 0

  const listener = (request: IncomingMessage, answer: ServerResponse): void => {
    if (doomed.has(request.socket)) {
      request.socket.resetAndDestroy()
      return
    }
    void receive(request, verifier).then((arrival) => {
      if (arrival === undefined) {
        answer.writeHead(401).end('the signature does not fit')
        return
      }
      arrivals.push(arrival)
      const how = reaction(arrival, arrivals.filter(({ id }) => id === arrival.id).length)
      if (typeof how === 'number') answer.writeHead(how).end()
      else how(answer, arrival, request.socket, secret)
    })
  }
  const server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
  })

  async function open(): Promise<void> {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    ;({ port } = server.address() as AddressInfo)
  }
  async function close(): Promise<void> {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  await open()
  scope.after(close)
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}/hooks/orders?key=hidden`,
    secret,
    arrivals,
    react: (how) => void (reaction = how),
    resetIdle() {
      for (const socket of sockets) doomed.add(socket)
    },
    open,
    close,
  }
}

async function receive(request: IncomingMessage, verifier: Webhook): Promise<Arrival | undefined> {
  const { headers, url: path = '', socket } = request
  const chunks: Buffer[] = []
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const payload = verifier.verify(Buffer.concat(chunks), headers as Record<string, string>)
    const id = String(headers['webhook-id'])
    return { id, path, headers, payload, at: performance.now(), from: socket.remotePort }
  } catch {
    return undefined
  }
}
