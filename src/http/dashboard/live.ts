/**
 * News for everybody who looks at *Now*, by server-sent events.
 *
 *     nobody looks ──first viewer──▶ read, tell all, wait ──▶ … ──last one gone──▶ nobody looks
 *                                        ▲        │ 1 s
 *                                        └────────┘
 *
 * One reader feeds all: what the database is asked does not grow with the viewers, and is nothing while nobody looks. Viewers
 * are bounded in number, since each holds a connection. One ends when its browser goes away, when the instance drains (the
 * browser finds another one), after its time (so that a session that is over ends, too), and when its browser takes nothing
 * for a while. A slow one is not queued for: it gets the newest state when it is ready for it.
 *
 * A read that fails is told as `away` and tried again: the page says since when it is old.
 */
export interface Live {
  /** Undefined: there are as many viewers as there may be, or the instance drains. */
  open(): ReadableStream<Uint8Array> | undefined
  readonly viewers: number
}

export interface LiveOptions {
  /** What is sent as the data of the event `now`. */
  readonly read: () => Promise<string>
  readonly ending: AbortSignal
  /** Viewers at most. Default: 100. */
  readonly most?: number
  /** Between two reads, in milliseconds. Default: 1,000. */
  readonly everyMs?: number
  /** How long a viewer is fed before it has to come again, in milliseconds. Default: 10 minutes. */
  readonly lifeMs?: number
}

const MOST = 100
const EVERY_MS = 1_000
const LIFE_MS = 600_000
/** Proxies cut what is silent, most of them after a minute. */
const SILENCE_MS = 15_000
/** A browser that takes nothing for this long is gone or asleep. */
const STUCK_MS = 30_000
/** Events that may wait for a viewer; each is the whole state, so older ones are worth nothing. */
const QUEUED = 2

interface Viewer {
  readonly controller: ReadableStreamDefaultController<Uint8Array>
  readonly since: number
  /** When it took something last. */
  tookAt: number
  /** What it was sent last. */
  sent: string | undefined
}

export function createLive(options: LiveOptions): Live {
  const { read, ending, most = MOST, everyMs = EVERY_MS, lifeMs = LIFE_MS } = options
  const viewers = new Set<Viewer>()
  const encoder = new TextEncoder()
  let reading = false
  let timer: NodeJS.Timeout | undefined
  let saidAt = 0

  ending.addEventListener('abort', () => {
    clearTimeout(timer)
    for (const viewer of viewers) close(viewer)
  })

  function close(viewer: Viewer): void {
    if (!viewers.delete(viewer)) return
    viewer.controller.close()
  }

  /** Whether there was room for it. */
  function send(viewer: Viewer, text: string, at: number): boolean {
    if ((viewer.controller.desiredSize ?? 0) > 0) {
      viewer.controller.enqueue(encoder.encode(text))
      viewer.tookAt = at
      return true
    }
    if (at - viewer.tookAt > STUCK_MS) close(viewer)
    return false
  }

  async function look(): Promise<void> {
    reading = true
    let event: string
    try {
      event = eventOf('now', await read())
    } catch {
      // Why is told by the log of whatever failed; a viewer is only told that what it sees grows old.
      event = eventOf('away', '')
    }
    reading = false
    tell(event)
    if (viewers.size > 0) timer = setTimeout(() => void look(), everyMs)
  }

  function tell(event: string): void {
    const at = performance.now()
    const silent = at - saidAt >= SILENCE_MS
    for (const viewer of viewers) {
      if (at - viewer.since > lifeMs) close(viewer)
      else if (viewer.sent !== event) {
        if (send(viewer, event, at)) viewer.sent = event
      } else if (silent) send(viewer, ': still here\n\n', at)
    }
    if (silent) saidAt = at
  }

  return {
    get viewers() {
      return viewers.size
    },
    open() {
      if (viewers.size >= most || ending.aborted) return undefined
      let viewer: Viewer | undefined
      return new ReadableStream<Uint8Array>(
        {
          start(controller) {
            const at = performance.now()
            viewer = { controller, since: at, tookAt: at, sent: undefined }
            viewers.add(viewer)
            // Comes again after a second when it is cut off.
            controller.enqueue(encoder.encode('retry: 1000\n\n'))
            if (viewers.size > 1) return // it is told with the others
            clearTimeout(timer)
            if (!reading) void look()
          },
          cancel() {
            if (viewer !== undefined) viewers.delete(viewer)
            if (viewers.size === 0) clearTimeout(timer)
          },
        },
        { highWaterMark: QUEUED },
      )
    },
  }
}

/** A line of data a line of text, as the format wants it. */
function eventOf(name: string, data: string): string {
  return `event: ${name}\n${data
    .split('\n')
    .map((line) => `data: ${line}`)
    .join('\n')}\n\n`
}
