import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** One process of a contestant's. */
export interface Child {
  readonly name: string
  /** It runs no more, whether it was ended or did so by itself. */
  readonly hasLeft: boolean
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>
  /** SIGTERM, and SIGKILL when it has not left in time; resolves when it is gone. */
  end(): Promise<void>
}

/** A drain takes some seconds at most. */
const LEAVE_MS = 20_000

const alive = new Set<ChildProcess>()

/** At an interrupt: nothing outlives the bench. */
export function killAll(): void {
  for (const child of alive) child.kill('SIGKILL')
}

/**
 * Starts it, and waits for `ready`.
 * @param ready resolves when the process works.
 */
export async function startChild(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  ready: (child: ChildProcess) => Promise<unknown>,
): Promise<Child> {
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: { PATH: process.env['PATH'], BENCH_NAME: name, ...env },
  })
  alive.add(child)
  const gone = once(child, 'exit').then(() => alive.delete(child))
  await Promise.race([
    ready(child),
    gone.then(() => Promise.reject(new Error(`${name} ended before it was ready`))),
  ])
  const send = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal)
    await gone
  }
  return {
    name,
    get hasLeft() {
      return !alive.has(child)
    },
    kill: () => send('SIGKILL'),
    async end() {
      const timer = setTimeout(() => child.kill('SIGKILL'), LEAVE_MS)
      await send('SIGTERM')
      clearTimeout(timer)
    },
  }
}
