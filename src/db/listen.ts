import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'pg'
import { closeClient, openClient } from './connection.ts'
import type { SessionAddress } from './connection.ts'
import { quoteIdentifier } from './identifier.ts'
import { loadStatements } from './statements.ts'

const sql = loadStatements('listen', ['lost_channels', 'backend', 'end_former'])

/**
 * Hearing NOTIFY over a connection of its own.
 *
 * A notification is only a hint to look sooner: nothing may depend on one. So there is no queue and no replay here.
 * What is promised instead: whenever the connection has been made, the first time or again, `onUp` is called after
 * every LISTEN has been confirmed. Whoever looks at everything once in `onUp` has missed nothing, since what was
 * committed before that look is seen by it, and what is committed later is announced.
 *
 *     connecting ──▶ up ──▶ lost ──▶ (backoff) ──▶ connecting …            close() ends it from anywhere
 *
 * A half-open connection looks alive and says nothing, exactly like a quiet day. The heartbeat is a statement with a
 * time limit, and it asks whether the server still lists our channels: behind a transaction pooler the LISTEN lands on
 * somebody else's session, and this is where that shows. A server that never heard of the loss keeps the session: the
 * next connection ends it.
 *
 * Failures never leave this file except through `onDown`, once per outage. A callback that throws counts as a failure
 * of the connection: the hint it was given is lost, so the connection is made again and `onUp` makes up for it.
 */

export interface ListenOptions {
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string
  readonly channels: readonly string[]
  readonly onNotify: (channel: string, payload: string) => void
  /** Every LISTEN is in place: look at everything once. `afterMs` is the length of the outage, null the first time. */
  readonly onUp: (up: { readonly afterMs: number | null }) => void
  /** The connection failed, or could not be made; called once until the next `onUp`. */
  readonly onDown: (error: unknown) => void
  /** Time between heartbeats. Default: 15 s. */
  readonly heartbeatMs?: number
  /** Limit of connecting and of each statement. Default: 5 s. */
  readonly timeoutMs?: number
  /** First wait after a failure; doubled up to 10 s, with jitter. Default: 200 ms. */
  readonly backoffMs?: number
}

export interface Listener {
  /** Hears one more channel, from the next `onUp` on when the connection is down at the moment. */
  add(channel: string): void
  /** Stops hearing a channel. */
  remove(channel: string): void
  /** Ends the connection and all attempts to make one. May be called again; never rejects. */
  close(): Promise<void>
}

/** While the database restarts, longer waits only delay the return; shorter ones only burn connections. */
const MAX_BACKOFF_MS = 10_000

/** Starts to listen. Returns at once; `onUp` says when the channels are heard. */
export function listen(address: SessionAddress, options: ListenOptions): Listener {
  const channels = new Set(options.channels)
  const stopped = new AbortController()
  const isStopped = (): boolean => stopped.signal.aborted
  let session: Session | undefined
  let former: Backend | undefined

  async function run(): Promise<void> {
    let failures = 0
    let downSince: number | null = null
    while (!isStopped()) {
      let wasUp = false
      try {
        session = await openSession(address, options, stopped.signal)
        await session.setUp(channels)
        former = await session.succeed(former)
        wasUp = true
        options.onUp({ afterMs: downSince === null ? null : Math.round(performance.now() - downSince) })
        downSince = null
        await session.watch(channels)
      } catch (error) {
        // A pooler's session may serve anybody by now.
        if (error instanceof ChannelsLost) former = undefined
        failures = wasUp ? 0 : failures + 1
        if (!isStopped() && downSince === null) {
          downSince = performance.now()
          reportDown(options, error)
        }
      }
      await session?.close()
      session = undefined
      const ceiling = Math.min(MAX_BACKOFF_MS, (options.backoffMs ?? 200) * 2 ** Math.min(failures, 10))
      await pause(ceiling * (0.5 + Math.random() / 2), stopped.signal)
    }
  }

  const running = run()
  return {
    add(channel) {
      if (channels.has(channel)) return
      channels.add(channel)
      session?.say('LISTEN', channel)
    },
    remove(channel) {
      if (channels.delete(channel)) session?.say('UNLISTEN', channel)
    },
    async close() {
      stopped.abort()
      await running
    },
  }
}

interface Backend {
  readonly pid: number
  readonly since: string
}

class ChannelsLost extends Error {
  override readonly name = 'ChannelsLost'

  constructor() {
    super('the server no longer lists our channels: is this a transaction pooler?')
  }
}

/** One life of the connection. `broken` rejects when it ends, whatever the reason. */
interface Session {
  setUp(channels: ReadonlySet<string>): Promise<void>
  /** Ends the backend of the connection before, where the server still has it; returns its own. */
  succeed(former: Backend | undefined): Promise<Backend | undefined>
  /** Heartbeats until something breaks; only ever rejects. */
  watch(channels: ReadonlySet<string>): Promise<never>
  say(verb: 'LISTEN' | 'UNLISTEN', channel: string): void
  close(): Promise<void>
}

async function openSession(
  address: SessionAddress,
  options: ListenOptions,
  stopped: AbortSignal,
): Promise<Session> {
  const { heartbeatMs = 15_000, timeoutMs = 5_000 } = options
  const broken = Promise.withResolvers<never>()
  // It may break while nobody waits for it: between two statements, or after close().
  broken.promise.catch(() => undefined)
  const client: Client = await openClient(
    {
      ...address,
      applicationName: options.applicationName,
      connectTimeoutMs: timeoutMs,
      limits: { statementTimeoutMs: timeoutMs, lockTimeoutMs: 0, idleInTransactionMs: 0 },
    },
    broken.reject,
  )
  client.once('end', () => {
    broken.reject(new Error('the connection ended'))
  })
  client.on('notification', ({ channel, payload }) => {
    try {
      options.onNotify(channel, payload ?? '')
    } catch (error) {
      broken.reject(asError(error))
    }
  })
  const stop = (): void => {
    broken.reject(new Error('closed'))
  }
  stopped.addEventListener('abort', stop, { once: true })
  if (stopped.aborted) stop()

  const ask = (text: string, values: unknown[] = []): Promise<{ rows: unknown[] }> =>
    Promise.race([client.query(text, values), broken.promise])

  return {
    async setUp(channels) {
      for (const channel of channels) await ask(`LISTEN ${quoteIdentifier(channel)}`)
    },
    async succeed(former) {
      if (former !== undefined) await ask(sql.end_former, [former.pid, former.since])
      const { rows } = await Promise.race([client.query<Backend>(sql.backend), broken.promise])
      return rows[0]
    },
    async watch(channels) {
      for (;;) {
        await Promise.race([pause(heartbeatMs, stopped), broken.promise])
        const { rows } = await ask(sql.lost_channels, [[...channels]])
        if (rows.length > 0) throw new ChannelsLost()
      }
    },
    say(verb, channel) {
      ask(`${verb} ${quoteIdentifier(channel)}`).catch(broken.reject)
    },
    async close() {
      stopped.removeEventListener('abort', stop)
      await closeClient(client)
    },
  }
}

function reportDown(options: ListenOptions, error: unknown): void {
  try {
    options.onDown(error)
  } catch {
    // Nobody is left to tell: the connection is being made again already.
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined)
}
