/*
 * npm run newcomer: the way of somebody who has never seen this project, timed. Clones the present checkout (what is committed) into an
 * empty folder, installs with an empty cache of npm, starts the demo, waits for its first message to be DONE, stops it. Prints how
 * long each step took; exit 1 when the way from the clone to DONE took longer than 90 s, or a step failed.
 *
 *   --limit SECONDS   another limit
 *   --warm            with the user's own cache of npm
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { findEmbedded } from '../src/db/embedded.ts'

const { values: options } = parseArgs({
  options: { limit: { type: 'string', default: '90' }, warm: { type: 'boolean', default: false } },
})
const checkout = resolve(import.meta.dirname, '..')
const home = mkdtempSync(join(tmpdir(), 'tidemark-newcomer-'))
const folder = join(home, 'tidemark')
/** No demo takes that long; one that hangs must come to an end. */
const STEP_LIMIT_MS = 300_000

/** A newcomer has none of what this process was given: no packages on PATH, no settings. */
const environment: NodeJS.ProcessEnv = {
  PATH: (process.env['PATH'] ?? '')
    .split(':')
    .filter((entry) => !entry.includes('node_modules'))
    .join(':'),
  HOME: process.env['HOME'],
  ...(options.warm ? {} : { npm_config_cache: join(home, 'npm-cache') }),
  ...registryOf(process.env),
  LOG_FORMAT: 'json',
}

/** How packages are reached from this machine. */
function registryOf(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const wanted =
    /^(npm_config_(registry|proxy|https_proxy|cafile)|https?_proxy|no_proxy|node_extra_ca_certs)$/i
  return Object.fromEntries(Object.entries(env).filter(([name]) => wanted.test(name)))
}

let passedMs = 0

async function step<T>(what: string, work: () => Promise<T> | T): Promise<T> {
  const startedAt = performance.now()
  const result = await work()
  const tookMs = performance.now() - startedAt
  passedMs += tookMs
  process.stdout.write(`${what.padEnd(28)} ${seconds(tookMs).padStart(7)} s\n`)
  return result
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1)
}

function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  const child = spawn(command, args, {
    cwd,
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: STEP_LIMIT_MS,
  })
  let output = ''
  const keep = (text: string): void => void (output += text)
  child.stdout.setEncoding('utf8').on('data', keep)
  child.stderr.setEncoding('utf8').on('data', keep)
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code) => {
      if (code === 0) done(output)
      else fail(new Error(`${command} ${args.join(' ')} ended with ${code ?? 'a signal'}:\n${output}`))
    })
  })
}

async function main(): Promise<boolean> {
  const commit = execFileSync('git', ['log', '-1', '--format=%h'], { cwd: checkout, encoding: 'utf8' }).trim()
  process.stdout.write(
    `commit ${commit}, ${cpus().length} cores, ${options.warm ? "the user's" : 'an empty'} cache of npm\n`,
  )
  mkdirSync(join(home, 'npm-cache'))
  await step('git clone', () => run('git', ['clone', '--quiet', pathToFileURL(checkout).href, folder], home))
  await step('npm ci', () => run('npm', ['ci'], folder))
  const demo = spawn('npm', ['start'], {
    cwd: folder,
    env: environment,
    // Ctrl-C reaches a whole group.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  let isOver = false
  demo.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
  demo.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  const ended = new Promise<number | null>((done) => demo.on('close', done)).finally(() => (isOver = true))
  const runs = (): boolean => !isOver
  try {
    await step('npm start, until ready', () => until(() => said.includes('Tidemark is ready')))
    await step('until the first DONE', () => until(isDone))
    const toDoneMs = passedMs
    await step('Ctrl-C, until it is over', async () => {
      if (demo.pid !== undefined) process.kill(-demo.pid, 'SIGINT')
      await ended
      // npm's shell ends by the same signal, and its exit code tells nothing.
      const isClean = said.includes('"event":"drain_completed"')
      if (!isClean || (await findEmbedded(join(folder, '.tidemark'))) !== undefined)
        throw new Error(`it did not end as it should:\n${said}`)
    })
    const limitS = Number(options.limit)
    const kept = toDoneMs <= limitS * 1_000
    process.stdout.write(
      `from the clone to DONE: ${seconds(toDoneMs)} s, ${kept ? 'within' : 'NOT within'} ${limitS} s\n`,
    )
    return kept
  } finally {
    if (runs() && demo.pid !== undefined) process.kill(-demo.pid, 'SIGKILL')
    await ended
  }

  async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = performance.now() + STEP_LIMIT_MS
    while (!(await condition())) {
      if (isOver || performance.now() > deadline) throw new Error(`it did not come to that:\n${said}`)
      await delay(100)
    }
  }
}

/** By the very command that `npm start` prints. */
async function isDone(): Promise<boolean> {
  const query = `SELECT count(*) AS messages FROM service_ops.integration_inbox WHERE status = 'DONE'`
  const answer = await run('npx', ['tidemark', 'sql', '--json', query], folder)
  return /"messages": *"?[1-9]/.test(answer)
}

try {
  process.exitCode = (await main()) ? 0 : 1
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
} finally {
  rmSync(home, { recursive: true, force: true })
}
