import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NODE_FLAGS } from './process.ts'
import { freePort } from '../../tests/support/port.ts'
import { untilReady } from './load.ts'
import { publishedBin } from './published.ts'
import type { BenchServer } from './server.ts'

/** A real `tidemark start` process, which may be stopped and started again at the same port. */
export interface BenchInstance {
  readonly address: string
  readonly token: string
  /** Of the process that runs now. */
  readonly pid: number
  /** SIGTERM, and once it has left, a new process. */
  restart(): Promise<void>
  end(): Promise<void>
}

/** For intake and for actions. */
const TOKEN = 'the-token-of-the-bench'

export async function startInstance(
  server: Pick<BenchServer, 'url'>,
  config: string,
): Promise<BenchInstance> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-instance-'))
  const file = join(folder, 'tidemark.config.mjs')
  writeFileSync(file, config)
  const bin = await publishedBin()
  const port = await freePort()
  const address = `http://127.0.0.1:${port}`
  const start = async () => {
    const started = spawn(process.execPath, [...NODE_FLAGS, bin, 'start', '--config', file], {
      cwd: folder,
      stdio: 'ignore',
      env: {
        PATH: process.env['PATH'],
        DATABASE_URL: server.url,
        HOST: '127.0.0.1',
        PORT: String(port),
        INTAKE_TOKEN: TOKEN,
        ADMIN_TOKEN: TOKEN,
      },
    })
    const gone = once(started, 'exit')
    await Promise.race([
      untilReady(address),
      gone.then(() => Promise.reject(new Error('the instance of the bench ended before it was ready'))),
    ])
    return { started, gone }
  }
  let running = await start()
  const stop = async (): Promise<void> => {
    running.started.kill('SIGTERM')
    await running.gone
  }
  return {
    address,
    token: TOKEN,
    get pid() {
      return running.started.pid ?? -1
    },
    async restart() {
      await stop()
      running = await start()
    },
    async end() {
      await stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
