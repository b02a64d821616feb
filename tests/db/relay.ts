import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'

export interface Relay {
  /** The database's address by way of this relay. */
  readonly url: string
  /** Accepts connections; before, the port refuses them. */
  open(): Promise<void>
  /** From now on nothing is passed on, in either direction, and no connection is closed: a host that vanished. */
  freeze(): void
  /** New connections work again; those from before stay dead, as a firewall that forgot them would have it. */
  thaw(): void
}

/** A way to the database that a test can cut: a port of this host, refused until it is opened. */
export async function relay(t: Scope, to: string): Promise<Relay> {
  const target = new URL(to)
  const sockets = new Set<Socket>()
  const dead = new Set<Socket>()
  let frozen = false
  const server = createServer((socket) => {
    const beyond = connect(Number(target.port), target.hostname)
    pass(socket, beyond)
    pass(beyond, socket)
  })
  const pass = (from: Socket, into: Socket): void => {
    sockets.add(from)
    if (frozen) dead.add(from)
    from.on('error', () => undefined)
    from.on('data', (bytes) => {
      if (!dead.has(from)) into.write(bytes)
    })
    from.on('close', () => {
      if (!dead.has(from)) into.destroy()
      sockets.delete(from)
    })
  }
  const openOn = async (port: number): Promise<void> => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  /** While nobody has the port, somebody else's connection may be given it for a while. */
  const openAgain = (port: number): Promise<boolean> =>
    openOn(port).then(
      () => true,
      (error: unknown) => {
        if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return false
        throw error
      },
    )
  const close = (): Promise<void> => new Promise((resolve) => server.close(() => resolve()))

  await openOn(0)
  const { port } = server.address() as AddressInfo
  await close()
  t.after(async () => {
    for (const socket of sockets) socket.destroy()
    if (server.listening) await close()
  })
  const url = new URL(to)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  return {
    url: url.href,
    async open() {
      await until('the port of the relay to be free', () => openAgain(port))
    },
    freeze() {
      frozen = true
      for (const socket of sockets) dead.add(socket)
    },
    thaw: () => void (frozen = false),
  }
}
