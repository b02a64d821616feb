import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'

const BIN = resolve(import.meta.dirname, '../../bin/tidemark.js')

/** The command line in a pseudo-terminal: what it writes there, and what is typed. */
export interface Typed {
  /** Everything so far, with the terminal's own codes. */
  readonly written: string
  writes(pattern: RegExp): Promise<void>
  /** As if typed; Ctrl-C is \u0003. */
  type(keys: string): void
  readonly ended: Promise<number | null>
}

/**
 * Runs the command line in a terminal of 100 columns and 30 lines, made by `script` of util-linux, whose exit code is that of
 * what it runs.
 */
export function onTerminal(
  scope: Scope,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Typed {
  const words = [process.execPath, BIN, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`)
  const command = `stty cols 100 rows 30; exec ${words.join(' ')}`
  const child = spawn('script', ['--quiet', '--flush', '--return', '--command', command, '/dev/null'], {
    env: { PATH: process.env['PATH'] ?? '', TERM: 'xterm', SHELL: '/bin/sh', ...env },
  })
  let written = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (written += text))
  let over = false
  const ended = new Promise<number | null>((done, fail) => {
    child.on('error', fail)
    child.on('close', done)
  }).finally(() => (over = true))
  scope.after(async () => {
    child.kill('SIGKILL')
    await ended.catch(() => undefined)
  })
  return {
    get written() {
      return written
    },
    async writes(pattern) {
      await until(`${args.join(' ')} to write ${String(pattern)}`, () => {
        if (!pattern.test(written) && over)
          throw new Error(`it ended without ${String(pattern)}:\n${written}`)
        return pattern.test(written)
      })
    },
    type: (keys) => void child.stdin.write(keys),
    ended,
  }
}

/** Whether there is such a terminal here: macOS has another `script`, and some systems none. */
export async function hasTerminal(): Promise<boolean> {
  const child = spawn('script', ['--version'], { stdio: ['ignore', 'pipe', 'ignore'] })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
  return new Promise((done) => {
    child.on('error', () => done(false))
    child.on('close', () => done(said.includes('util-linux')))
  })
}
