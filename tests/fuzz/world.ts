import { connect } from 'node:net'
import { createDatabaseOn } from '../support/databaseOn.ts'
import { startInstance } from '../support/instance.ts'
import type { Instance } from '../support/instance.ts'
import type { Scope } from '../support/scope.ts'
import { SERVER_VARIABLE } from '../support/server.ts'

export const TOKEN = 'a-token-of-more-than-16'
export const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`

const CONFIG = `
  export default {
    pollers: { letters: { source: { table: 'letters', id: 'id', createdAt: 'at' }, every: '1s' } },
    intakes: { orders: {}, signed: { signature: { secret: '${SECRET}' } } },
    processors: { work: { from: ['letters', 'orders', 'signed'], contract: 'external', maxAttempts: 2,
      backoff: { base: 1, max: 1 }, async handle({ messageId }) { if (messageId.length % 5 === 0) throw new RangeError('odd') } } },
    jobs: { sent: { async handle() {} } },
  }`

/** A real instance with everything that HTTP can reach. */
export interface World {
  readonly instance: Instance
  readonly port: number
}

/** It ends with the scope. */
export async function openWorld(scope: Scope): Promise<World> {
  const server = process.env[SERVER_VARIABLE]
  if (server === undefined) throw new Error(`${SERVER_VARIABLE} names no server`)
  const database = await createDatabaseOn(server, scope)
  const pool = database.pool()
  await pool.query(`
    CREATE TABLE letters (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), what text);
    INSERT INTO letters (id, what) SELECT i, 'letter ' || i FROM generate_series(1, 200) i`)
  const instance = await startInstance(scope, {
    databaseUrl: database.url,
    config: CONFIG,
    env: {
      ADMIN_TOKEN: TOKEN,
      INTAKE_TOKEN: TOKEN,
      CORS_ORIGINS: 'https://shop.example',
      REQUEST_TIMEOUT_SECONDS: '5',
    },
  })
  await instance.said('ready')
  return { instance, port: Number(new URL(instance.address).port) }
}

/** Longer than any request may last, in milliseconds. */
const ANSWER_MS = 10_000

/**
 * Sends bytes on a connection of their own; what came back until the other side ended it. When nothing comes for `silentMs`, this side
 * is done sending. (Not before: Node's server ends the answer to whoever has left.) Throws when the other side does not end it within the limit of any request, or nobody listens.
 */
export function exchange(port: number, bytes: Uint8Array, silentMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    let refused: Error | undefined
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const silent = setTimeout(() => socket.end(), silentMs)
    const tooLong = setTimeout(() => {
      socket.destroy()
      reject(new Error(`no end of the answer within ${ANSWER_MS} ms; so far: ${answer.slice(0, 200)}`))
    }, ANSWER_MS)
    socket.setEncoding('latin1')
    socket.on('connect', () => socket.write(bytes))
    socket.on('data', (text: string) => {
      silent.refresh()
      answer += answer.length < 4_000 ? text : ''
    })
    // A reset is an answer, too: to bytes that were still on their way when the other side was done.
    socket.on('error', (error: Error & { code?: string }) => {
      if (error.code === 'ECONNREFUSED') refused = error
    })
    socket.on('close', () => {
      clearTimeout(silent)
      clearTimeout(tooLong)
      if (refused === undefined) resolve(answer)
      else reject(refused)
    })
  })
}

/** Statuses of the answers in what came back. */
export function statusesIn(answer: string): number[] {
  return [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
}
