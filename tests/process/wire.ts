import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Scope } from '../support/scope.ts'

/** The way to the database, as a network that can fail half-way. */
export interface Wire {
  readonly url: string
  /** From now on requests still arrive, and their answers are lost. */
  loseAnswers(): void
  /** Cuts every connection; new ones work, and are answered. */
  cut(): void
  /** Cuts every connection and refuses new ones at once, until `restore`. */
  down(): void
  restore(): void
}

export async function wire(scope: Scope, to: string): Promise<Wire> {
  const target = new URL(to)
  const sockets = new Set<Socket>()
  let mute = false
  let refusing = false
  const server = createServer((client) => {
    if (refusing) {
      client.destroy()
      return
    }
    const database = connect(Number(target.port), target.hostname)
    for (const [from, into] of [
      [client, database],
      [database, client],
    ] as const) {
      sockets.add(from)
      from.on('error', () => undefined)
      from.on('data', (bytes) => {
        if (from === client || !mute) into.write(bytes)
      })
      from.on('close', () => {
        sockets.delete(from)
        into.destroy()
      })
    }
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', () => listening()))
  const cut = (): void => {
    mute = false
    for (const socket of sockets) socket.destroy()
  }
  scope.after(async () => {
    const closed = new Promise((done) => server.close(done))
    cut()
    await closed
  })
  const url = new URL(to)
  url.hostname = '127.0.0.1'
  // A server that listens on a port has an address of this form.
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    loseAnswers: () => void (mute = true),
    cut,
    down() {
      refusing = true
      cut()
    },
    restore: () => void (refusing = false),
  }
}
