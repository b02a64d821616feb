/**
 * The sentinel: one direct connection that holds a session advisory lock for as long as this process lives. PostgreSQL
 * frees the lock within milliseconds of the process's death (measured: 5–11 ms for an idle connection), which is how
 * others know of it long before the lease is over.
 *
 * States: *held*; *lost* (the connection broke: reconnecting with backoff, others may see the lock free and, for
 * leadership, act on it: the fence makes that cheap); *closed*. A frozen process keeps its lock: the lease decides then.
 *
 * *The server has ended it, and we were not told*: each heartbeat of the instance looks whether the lock is held, too, and a
 * lock that others see free is taken anew at once.
 *
 * *The connection is lost without a word*: the server still has it, and with it the lock, so the next one is refused it and
 * ends that session. Left alone it would say that this process lives long after its death.
 */
import { Client } from 'pg'
import { closeClient, connectionConfig } from '../db/connection.ts'
import type { ConnectionOptions } from '../db/connection.ts'
import { backoffMs } from '../kit/backoff.ts'
import { startLoop } from '../kit/loop.ts'
import { endFormerSentinel, takeSentinel } from '../tables/leader.ts'

export interface Sentinel {
  readonly held: boolean
  /** A statement sent at this monotonic moment saw the lock free. One that was taken before that is taken anew. */
  doubt(askedAt: number): void
  close(): Promise<void>
}

/**
 * A dead peer is noticed by the server within seconds, also when its host vanished without a word; and no limit that
 * ends idle sessions may end this one.
 */
const SESSION = `SELECT set_config(s.name, w.value, false) FROM pg_catalog.pg_settings s
  JOIN (VALUES ('tcp_keepalives_idle', '1'), ('tcp_keepalives_interval', '1'), ('tcp_keepalives_count', '2'),
               ('idle_session_timeout', '0')) w(name, value) ON w.name = s.name -- the last is not in PostgreSQL 13`

/**
 * How often the held connection is asked for a sign of life. Whether the lock is held is seen at each heartbeat of the
 * instance; this is for the way to a server, or a proxy, that keeps the session although nothing gets through any more.
 */
const HEARTBEAT_MS = 10_000

const RECONNECT = { baseMs: 100, maxMs: 2_000 }

/** Begins at once and keeps trying; `held` tells how it stands. */
export function keepSentinel(
  options: ConnectionOptions,
  holder: string,
  onLost: (error: unknown) => void,
  heartbeatMs = HEARTBEAT_MS,
): Sentinel {
  let client: Client | undefined
  let held = false
  let takenAt = Number.POSITIVE_INFINITY
  let isDoubted = false

  async function drop(): Promise<void> {
    held = false
    const old = client
    client = undefined
    if (old !== undefined) await closeClient(old)
  }

  const loop = startLoop({
    async body() {
      if (isDoubted && held) {
        onLost(new Error('the server does not have the lock of the sentinel any more'))
        await drop()
      }
      isDoubted = false
      if (client === undefined) {
        const next = new Client(connectionConfig(options))
        next.on('error', (error) => {
          if (client !== next) return
          held = false
          onLost(error)
          loop.wake()
        })
        client = next
        await next.connect()
        await next.query(SESSION)
      }
      if (!held) {
        held = (await takeSentinel(client, holder)).taken
        if (!held) await endFormerSentinel(client, holder)
        takenAt = performance.now()
        return held ? heartbeatMs : RECONNECT.baseMs
      }
      await client.query('SELECT 1')
      return heartbeatMs
    },
    onError(error, failures) {
      if (held) onLost(error)
      void drop()
      return backoffMs(failures, RECONNECT)
    },
  })

  return {
    get held() {
      return held
    },
    doubt(askedAt) {
      if (!held || askedAt <= takenAt) return
      isDoubted = true
      loop.wake()
    },
    async close() {
      const stopped = loop.stop()
      await drop()
      await stopped
      await drop()
    },
  }
}
