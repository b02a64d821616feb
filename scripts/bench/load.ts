import autocannon from 'autocannon'

/** What an intake is sent, and who keeps count of it. */
export interface Load {
  readonly address: string
  readonly token: string
  readonly connections: number
}

/** Every so many-th message is one that was sent just before. */
const REPEAT_EVERY = 3

/** Of so many messages, those that are no repeats. */
export function distinctOf(messages: number): number {
  return messages - Math.floor(messages / REPEAT_EVERY)
}

export function idOf(n: number): string {
  return `m-${n % REPEAT_EVERY === REPEAT_EVERY - 1 ? n - 1 : n}`
}

export function bodyOf(n: number): string {
  return JSON.stringify({
    message_id: idOf(n),
    group_key: `g-${n % 100}`,
    payload: { n, kind: 'bench', text: 'x'.repeat(150) },
  })
}

export interface Sent {
  /** 99th percentile of the answers, in milliseconds. */
  readonly p99Ms: number
  readonly perSecond: number
}

/**
 * Sends all messages, one a request, until each has its 202. What was answered otherwise or not at all is sent again; while
 * connections are refused, senders wait.
 * @param rate requests a second; default: as fast as they are answered
 * @param onTaken called with how many have their 202
 */
export async function sendAll(
  load: Load,
  messages: number,
  options: { readonly rate?: number; readonly onTaken?: (taken: number) => void } = {},
): Promise<Sent> {
  const taken = new Set<number>()
  const startedAt = performance.now()
  let p99Ms = 0
  while (taken.size < messages) {
    await untilReady(load.address)
    p99Ms = Math.max(p99Ms, await round(load, messages, taken, options))
  }
  return { p99Ms, perSecond: messages / ((performance.now() - startedAt) / 1000) }
}

/** One run of the load tool: until all is taken in, or connections are refused. */
async function round(
  { address, token, connections }: Load,
  messages: number,
  taken: Set<number>,
  { rate, onTaken }: { readonly rate?: number; readonly onTaken?: (taken: number) => void },
): Promise<number> {
  const open = Array.from({ length: messages }, (_, n) => messages - 1 - n).filter((n) => !taken.has(n))
  return new Promise((resolve, reject) => {
    const instance = autocannon(
      {
        url: address,
        connections,
        duration: 3_600,
        // Not the tool's own count of requests: those that are sent again would be in it.
        ...(rate === undefined ? {} : { overallRate: rate }),
        setupClient(client) {
          let mine: number | undefined
          const next = (): number => {
            // The connection of the one before ended without an answer.
            if (mine !== undefined) open.push(mine)
            mine = open.pop()
            // All are under way: somebody else's again, until the last is answered.
            return mine ?? 0
          }
          client.setRequests([
            {
              method: 'POST',
              path: '/inbox/bench',
              headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
              setupRequest: (request) => ({ ...request, body: bodyOf(next()) }),
              onResponse(status) {
                if (mine === undefined) return
                if (status === 202) taken.add(mine)
                else open.push(mine)
                mine = undefined
                onTaken?.(taken.size)
                if (taken.size === messages) instance.stop()
              },
            },
          ])
        },
      },
      (error: unknown, result) => {
        if (error === null || error === undefined) resolve(result.latency.p99)
        else reject(error instanceof Error ? error : new Error('the load tool failed'))
      },
    )
    instance.on('reqError', () => instance.stop())
  })
}

/** How often a look is taken whether the instance is there. */
const LOOK_MS = 50

export async function untilReady(address: string): Promise<void> {
  for (;;) {
    try {
      if ((await fetch(`${address}/ready`)).status === 200) return
    } catch {
      // Not listening: it is on its way.
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}
