import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { BenchServer } from '../server.ts'

const MAIN = join(import.meta.dirname, 'workerMain.ts')

/** Shapes of processors that a worker runs. */
export type Shape = 'batched' | 'single'

/** What it is told: to connect a processor, to start it, to stop and forget it. */
export type Told = { readonly prepare: Shape } | 'start' | 'rest'

/** What it says; `at ease` when what it was told is done. */
export type Said = 'at ease' | { readonly finished: number }

/**
 * A process of its own that runs one processor after another. It stays from round to round, as processes do: a fresh one
 * compiles what it runs, and several of them would do so at the same time.
 */
export interface Worker {
  readonly pid: number
  prepare(shape: Shape): Promise<void>
  /** `onFinished` is told how many outcomes it has written, until it rests. */
  start(onFinished: (count: number) => void): void
  rest(): Promise<void>
  end(): Promise<void>
}

export async function startWorker(server: BenchServer, name: string): Promise<Worker> {
  const child = fork(MAIN, [name], { env: { ...process.env, DATABASE_URL: server.url } })
  const gone = once(child, 'exit')
  const failed = gone.then(() => Promise.reject(new Error(`${name} ended before its time`)))
  // It is waited for only while there is something to wait for.
  failed.catch(() => undefined)
  let onSaid: (said: Said) => void = () => undefined
  child.on('message', (said: Said) => onSaid(said))
  const atEase = (told?: Told): Promise<void> =>
    Promise.race([
      failed,
      new Promise<void>((resolve) => {
        onSaid = (said) => {
          if (said === 'at ease') resolve()
        }
        if (told !== undefined) child.send(told)
      }),
    ])
  await atEase()
  return {
    pid: child.pid ?? -1,
    prepare: (shape) => atEase({ prepare: shape }),
    start(onFinished) {
      onSaid = (said) => {
        if (said !== 'at ease') onFinished(said.finished)
      }
      child.send('start' satisfies Told)
    },
    rest: () => atEase('rest'),
    async end() {
      if (child.connected) child.disconnect()
      await gone
    },
  }
}
