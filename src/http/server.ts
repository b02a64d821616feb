import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { PortTaken } from '../errors.ts'
import type { App } from './app.ts'
import type { Repeats } from './repeats.ts'

/*
 * Listening, and leaving.
 *
 * A server that closes refuses new connections at once, answers every request that has begun, and lets go of
 * connections that are kept alive for a next one: idle ones at once, busy ones with their answer, which says
 * `Connection: close`. Node's own `close` does the first and half of the last: a connection whose answer was begun
 * before the closing would be kept alive until its idle limit, so each finished answer looks for it again.
 * What is still there at the end of the grace is cut off.
 */

export interface ServeOptions {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  /** A taken port means the next free one; else `PortTaken`. */
  readonly tryNext: boolean
  /** REQUEST_TIMEOUT_SECONDS: a request that is not sent completely within it is cut off. Default: 10 s. */
  readonly requestTimeoutMs?: number
  /** Answers what it has an answer for. Default: the app answers everything. */
  readonly repeats?: Repeats
}

export interface Listening {
  /** Where a browser on this machine reaches it: `http://127.0.0.1:8080`. */
  readonly address: string
  readonly port: number
  /** Resolves when the last connection is gone; cuts off what is left after `graceMs` (default: 10 s). */
  close(graceMs?: number): Promise<void>
}

/** So many ports are tried after the wanted one: enough for a few demos side by side. */
const PORTS_TRIED = 20

const CLOSE_GRACE_MS = 10_000

/**
 * Listens for the app.
 * @throws {PortTaken} when the port is in use and `tryNext` is false, or none of the next ones is free
 */
export async function serve(app: Pick<App, 'fetch'>, options: ServeOptions): Promise<Listening> {
  let closing = false
  const answer = getRequestListener(app.fetch, { overrideGlobalObjects: false })
  const repeats: Repeats = options.repeats ?? ((_request, _response, otherwise) => otherwise())
  const server = createServer({ requestTimeout: options.requestTimeoutMs ?? 10_000 }, (request, response) => {
    if (closing) response.setHeader('Connection', 'close')
    response.once('close', () => {
      // The socket becomes idle only after this event.
      if (closing) setImmediate(() => server.closeIdleConnections())
    })
    repeats(request, response, () => void answer(request, response))
  })
  const port = await listenOnOneOf(server, options)

  let closed: Promise<void> | undefined
  async function close(graceMs: number): Promise<void> {
    closing = true
    const cut = setTimeout(() => server.closeAllConnections(), graceMs)
    const gone = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeIdleConnections()
    await gone
    clearTimeout(cut)
  }

  return {
    address: `http://${browserHost(options.host)}:${port}`,
    port,
    close: (graceMs = CLOSE_GRACE_MS) => (closed ??= close(graceMs)),
  }
}

async function listenOnOneOf(server: Server, { host, port, tryNext }: ServeOptions): Promise<number> {
  const last = tryNext && port !== 0 ? Math.min(port + PORTS_TRIED, 65_535) : port
  for (let candidate = port; candidate <= last; candidate += 1) {
    try {
      return await listen(server, host, candidate)
    } catch (error) {
      if (!isCode(error, 'EADDRINUSE')) throw error
    }
  }
  throw new PortTaken(port, last)
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  try {
    return await listenOnce(server, host, port)
  } catch (error) {
    // `::` means every address, IPv4 too; a host without IPv6 has to be told so in the old way.
    if (host === '::' && isCode(error, 'EAFNOSUPPORT', 'EADDRNOTAVAIL'))
      return listenOnce(server, '0.0.0.0', port)
    throw error
  }
}

function listenOnce(server: Server, host: string, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const failed = (error: Error): void => {
    server.off('listening', listening)
    reject(error)
  }
  const listening = (): void => {
    server.off('error', failed)
    // A server that listens on a port has an address of this form; the others are pipes'.
    resolve((server.address() as AddressInfo).port)
  }
  server.once('error', failed)
  server.once('listening', listening)
  server.listen({ host, port })
  return promise
}

function browserHost(host: string): string {
  if (host === '::' || host === '0.0.0.0') return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}

function isCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
