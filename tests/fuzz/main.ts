/**
 * The long form of the fuzz test: `npm run fuzz -- [--minutes M] [--seed S] [--only NAME[,NAME]] [--list]`.
 *
 * Each of the ten readers of outside input is given values for `--minutes` (1) minutes, in a process of its own, so that one that
 * hangs is found, too: it is ended and counts as a finding. `--seed` (another one each time) tries the same values again. Exit
 * code 1: something was found.
 */
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { SERVER_VARIABLE, throwawayServer } from '../support/server.ts'
import { play, TARGETS } from './play.ts'
import type { Target } from './target.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string' },
    only: { type: 'string' },
    list: { type: 'boolean', default: false },
    /** This process plays the one target that `--only` names. */
    here: { type: 'boolean', default: false },
  },
})

/** For the start, the last value and the end of a process. */
const GRACE_MS = 60_000

const ms = Number(values.minutes) * 60_000
const seed = Number(values.seed ?? randomInt(2 ** 31))
const names = values.only?.split(',')
const chosen = TARGETS.filter(({ name }) => names?.includes(name) ?? true)

async function main(): Promise<boolean> {
  const unknown = names?.filter((name) => !TARGETS.some((target) => target.name === name)) ?? []
  if (unknown.length > 0 || !(ms > 0) || !Number.isSafeInteger(seed)) {
    say(
      `--only names some of ${TARGETS.map(({ name }) => name).join(', ')}; --minutes and --seed are numbers`,
    )
    return false
  }
  if (values.list) {
    for (const { name, what } of chosen) say(`${name.padEnd(10)} ${what}`)
    return true
  }
  if (values.here) return chosen[0] !== undefined && (await playHere(chosen[0]))
  say(`seed ${seed}, ${values.minutes} min each`)
  const server = await throwawayServer()
  let isClean = true
  try {
    for (const target of chosen) isClean = (await playApart(target, server.url)) && isClean
  } finally {
    await server.end()
  }
  return isClean
}

async function playHere(target: Target): Promise<boolean> {
  const { runs, found } = await play(target, seed, ms)
  say(`${found === undefined ? 'ok  ' : 'FOUND'} ${target.name.padEnd(10)} ${runs} runs`)
  if (found !== undefined) say(`${found}\nagain: npm run fuzz -- --only ${target.name} --seed ${seed}`)
  return found === undefined
}

function playApart({ name }: Target, server: string): Promise<boolean> {
  const given = ['--here', '--only', name, '--seed', String(seed), '--minutes', values.minutes]
  const child = spawn(process.execPath, [import.meta.filename, ...given], {
    stdio: 'inherit',
    env: { ...process.env, [SERVER_VARIABLE]: server },
  })
  const hung = setTimeout(() => {
    say(`FOUND ${name.padEnd(10)} it hangs; again: npm run fuzz -- --only ${name} --seed ${seed}`)
    child.kill('SIGKILL')
  }, ms + GRACE_MS)
  return new Promise((done, failed) => {
    child.once('error', failed)
    child.once('close', (code) => {
      clearTimeout(hung)
      done(code === 0)
    })
  })
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

process.exitCode = (await main()) ? 0 : 1
