/**
 * The long form of the property test: `npm run property -- [--seeds N] [--seed N] [--mutant NAME] [--free N] [--verbose]`.
 *
 * `--seeds` (200) plays the seeds from 1 on; `--seed` plays that one alone and, when it fails or with `--verbose`,
 * prints its steps; `--free` (150) is how many transactions each writer then makes without a schedule; `--mutant` reads with one of the losing ways, of which some seed must show the loss. Exit code 1:
 * a row was lost, or the mutant survived.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { migrate } from '../../src/db/migrate.ts'
import { useServer } from '../support/server.ts'
import { runFreely } from './freeRunning.ts'
import { Violation } from './invariants.ts'
import { NAMED_MUTANTS, RANDOM_MUTANTS } from './mutants.ts'
import type { Mutant } from './mutants.ts'
import { openSessions, play } from './schedule.ts'
import type { Outcome } from './schedule.ts'
import { World } from './world.ts'

const STEPS_SHOWN = 40

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    seed: { type: 'string' },
    mutant: { type: 'string' },
    free: { type: 'string', default: '150' },
    verbose: { type: 'boolean', default: false },
  },
})

const mutants: Readonly<Record<string, Mutant | undefined>> = RANDOM_MUTANTS

async function main(): Promise<boolean> {
  const mutant = values.mutant === undefined ? undefined : mutants[values.mutant]
  if (values.mutant !== undefined && mutant === undefined) {
    const named = Object.keys(NAMED_MUTANTS).join(', ')
    say(`--mutant is one of ${Object.keys(mutants).join(', ')}; schedules of their own catch ${named}`)
    return false
  }
  const seeds =
    values.seed === undefined
      ? Array.from({ length: Number(values.seeds) }, (_, i) => i + 1)
      : [Number(values.seed)]
  if (seeds.length === 0 || !seeds.every(Number.isSafeInteger)) {
    say('--seeds and --seed want a whole number')
    return false
  }
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-property-'))
  const server = await useServer(folder, { durable: false })
  try {
    await migrate({
      url: server.url,
      log: { event: () => undefined },
      lockWaitMs: 30_000,
      statementTimeoutMs: 60_000,
    })
    const world = await World.create(server.url)
    try {
      if (!(await playAll(world, seeds, mutant))) return false
      const alone = values.seed !== undefined || mutant !== undefined
      return alone || (await runFree(world, Number(values.free)))
    } finally {
      await world.close()
    }
  } finally {
    await server.leave()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function playAll(world: World, seeds: readonly number[], mutant: Mutant | undefined): Promise<boolean> {
  const sessions = await openSessions(world)
  const outcomes: Outcome[] = []
  for (const seed of seeds) {
    const steps: string[] = []
    try {
      const outcome = await play(world, sessions, seed, mutant ?? {}, (line) => steps.push(line))
      if (values.verbose) say(steps.join('\n'))
      outcomes.push(outcome)
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      say(values.verbose ? steps.join('\n') : steps.slice(-STEPS_SHOWN).join('\n'))
      say(`seed ${seed}: ${error.message}`)
      return mutant !== undefined && error.kind === 'unsafe'
    }
    if (outcomes.length % 20 === 0) say(summary(outcomes))
  }
  if (outcomes.length % 20 !== 0) say(summary(outcomes))
  if (mutant !== undefined) say('the mutant survived')
  return mutant === undefined
}

async function runFree(world: World, transactions: number): Promise<boolean> {
  try {
    const { look, takeovers, fenced, edgeMoves } = await runFreely(world, 1, transactions)
    const counts = `${takeovers} takeovers, ${fenced} passes refused, ${edgeMoves} moves of the edge`
    say(`free-running: ${look.rows - look.taken} lost and 0 invented of ${look.rows} rows; ${counts}`)
    return true
  } catch (error) {
    if (!(error instanceof Violation)) throw error
    say(`free-running: ${error.message}`)
    return false
  }
}

function summary(outcomes: readonly Outcome[]): string {
  const sum = (count: (one: Outcome) => number): number =>
    outcomes.reduce((total, one) => total + count(one), 0)
  return (
    `${outcomes.length} seeds: ${sum((one) => one.rows - one.taken)} lost and 0 invented of ${sum((one) => one.rows)} rows; ` +
    `${sum((one) => one.steps)} steps, ${sum((one) => one.takeovers)} forced takeovers, ` +
    `${sum((one) => one.refused)} statements refused, ${sum((one) => one.edgeMoves)} moves of the edge`
  )
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

process.exitCode = (await main()) ? 0 : 1
