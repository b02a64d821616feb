import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import type { Scope } from './scope.ts'
import { until } from './until.ts'

export interface Relay {
  /** The database's address by way of this relay. */
  readonly url: string
  /** Connections that are open, those that are dead included. */
  readonly connections: number
  /** Accepts connections; before, and after `cut` and `reset`, the port refuses them. */
  open(): Promise<void>
  /** From now on nothing is passed on, in either direction, and no connection is closed: a host that vanished. */
  freeze(): void
  /** New connections work again; those from before stay dead, as a firewall that forgot them would have it. */
  thaw(): void
  /** The same for the connections that listen to notifications, and for them alone; returns how many they are. */
  freezeListeners(): number
  /** Every connection ends in good order, in both directions, and the port refuses new ones: a proxy that is restarted. */
  cut(): Promise<void>
  /** Every connection is reset, as by a host that lost its state, and the port refuses new ones. */
  reset(): Promise<void>
  /** From now on everything arrives so much later, in either direction. */
  slow(ms: number): void
  /** From now on everything is passed on in pieces of so many bytes, one after another; undefined: whole again. */
  slice(size: (() => number) | undefined): void
  /** Pieces passed on so far. */
  readonly pieces: number
}

/** Both ends of one connection. */
interface Link {
  readonly near: Socket
  readonly far: Socket
  dead: boolean
  listens: boolean
}

/** Every so many pieces the next one waits a millisecond and not a turn of the loop: whoever waits may go to sleep. */
const BREATH = 8

/** A way to the database that a test can cut: a port of this host, refused until it is opened. */
export async function relay(t: Scope, to: string): Promise<Relay> {
  const target = new URL(to)
  const links = new Set<Link>()
  let frozen = false
  let lateMs = 0
  let pieceSize: (() => number) | undefined
  let pieces = 0

  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname)
    const link: Link = { near, far, dead: frozen, listens: false }
    links.add(link)
    pass(link, near, far)
    pass(link, far, near)
  })

  function pass(link: Link, from: Socket, into: Socket): void {
    from.setNoDelay(true)
    // What came first arrives first, however late: bytes and the end behind them.
    let before: Promise<void> | undefined
    const inTurn = (dueAt: number, act: () => Promise<void> | void): void => {
      const turn = (before ?? Promise.resolve()).then(async () => {
        const left = dueAt - performance.now()
        if (left > 0) await delay(left)
        if (!link.dead) await act()
      })
      before = turn
      void turn.then(() => {
        if (before === turn) before = undefined
      })
    }
    from.on('error', () => undefined)
    from.on('data', (bytes: Buffer) => {
      if (from === link.near && bytes.includes('LISTEN "')) link.listens = true
      if (link.dead) return
      if (before === undefined && lateMs === 0 && pieceSize === undefined) into.write(bytes)
      else inTurn(performance.now() + lateMs, () => write(link, into, bytes))
    })
    from.on('close', () => {
      if (!link.dead) inTurn(performance.now() + lateMs, () => void into.destroy())
      if (link.near.destroyed && link.far.destroyed) links.delete(link)
    })
  }

  async function write(link: Link, into: Socket, bytes: Buffer): Promise<void> {
    let rest = bytes
    while (rest.length > 0 && !link.dead) {
      const size = pieceSize?.() ?? rest.length
      into.write(rest.subarray(0, size))
      rest = rest.subarray(size)
      pieces += 1
      if (rest.length > 0) await (pieces % BREATH === 0 ? delay(1) : nextTurn())
    }
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
  /** Closes the port and every connection, each end in this way. */
  const end = async (way: (socket: Socket) => unknown): Promise<void> => {
    const closed = close()
    for (const { near, far } of links) for (const socket of [near, far]) way(socket)
    await closed
  }

  await openOn(0)
  const { port } = server.address() as AddressInfo
  await close()
  t.after(async () => {
    if (server.listening) await end((socket) => socket.destroy())
    else for (const { near, far } of links) for (const socket of [near, far]) socket.destroy()
  })
  const url = new URL(to)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  return {
    url: url.href,
    get connections() {
      return links.size
    },
    get pieces() {
      return pieces
    },
    async open() {
      await until('the port of the relay to be free', () => openAgain(port))
    },
    freeze() {
      frozen = true
      for (const link of links) link.dead = true
    },
    thaw: () => void (frozen = false),
    freezeListeners() {
      const those = [...links].filter(({ listens, dead }) => listens && !dead)
      for (const link of those) link.dead = true
      return those.length
    },
    cut: () => end((socket) => socket.end()),
    reset: () => end((socket) => socket.resetAndDestroy()),
    slow: (ms) => void (lateMs = ms),
    slice: (size) => void (pieceSize = size),
  }
}
