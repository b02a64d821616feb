import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Scope } from '../support/scope.ts'

/** What a maker says of its database. */
export interface Made {
  readonly name: string
  readonly port: string
  readonly postmaster: string
}

/** A test process of somebody's, `maker.ts`. */
export interface Maker {
  readonly made: Promise<Made>
  kill(): Promise<void>
  readonly ended: Promise<number | null>
}

/** Starts one with this environment, and PATH and nothing else. */
export function startMaker(scope: Scope, env: Readonly<Record<string, string>>): Maker {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'maker.ts')], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  const made = Promise.race([
    once(createInterface(child.stdout), 'line').then(([line]) => JSON.parse(String(line)) as Made),
    ended.then((): never => {
      throw new Error(`the process ended and made nothing:\n${errors}`)
    }),
  ])
  made.catch(() => undefined)
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
  }
  scope.after(kill)
  return { made, kill, ended }
}
