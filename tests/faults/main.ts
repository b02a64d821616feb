import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { SERVER_VARIABLE, throwawayServer } from '../support/server.ts'
import { FAULTS } from './all.ts'
import { COMPARED } from './baselines/faults.ts'
import { SEEDS, seedsOf } from './fault.ts'
import type { Fault } from './fault.ts'
import { runMutants } from './mutants.ts'
import { PROGRAMS } from './program.ts'
import type { Program } from './program.ts'
import { writeReport } from './report.ts'
import { codeDigest, Results } from './results.ts'
import type { Kept } from './results.ts'
import { runFault } from './run.ts'
import { CHANGES, load, measure } from './times.ts'

/*
 * npm run faults: every fault with every seed, results kept in docs/faults.json, table written to docs/faults.md.
 *
 *   --only TEXT     faults whose name contains it; may be repeated
 *   --seeds N       seeds 1 to N (default: 20, and 5 for the long ones)
 *   --seed S        this seed alone: to see a run again
 *   --minutes M     begin no run after so long; a later `--resume` goes on
 *   --resume        leave out what is known to be green for this very code
 *   --lanes N       runs side by side (default 2)
 *   --compare       instead of those: the faults that Tidemark and the two baselines are compared by, 5 seeds, all three
 *   --program NAME  of those, this one alone: tidemark, naive or stock_queue
 *   --times         instead of runs: measures the time without anyone able to lead, for each way to change leaders
 *   --mutants       instead of runs: builds without one safeguard each, of which every one must be caught
 *   --samples N     of each time (default 200)
 *   --list          names and titles
 *
 * Seeds go round: all faults with the first one, then all with the second, so that a run that is cut short leaves an even
 * table. Exit code 1 when any run was red.
 */

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    seeds: { type: 'string' },
    seed: { type: 'string' },
    minutes: { type: 'string' },
    resume: { type: 'boolean', default: false },
    lanes: { type: 'string', default: '2' },
    compare: { type: 'boolean', default: false },
    program: { type: 'string' },
    times: { type: 'boolean', default: false },
    mutants: { type: 'boolean', default: false },
    samples: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
})

interface Job {
  readonly program: Program
  readonly fault: Fault
  readonly seed: number
}

async function main(): Promise<boolean> {
  const chosen = (flags.compare ? COMPARED : FAULTS).filter(
    ({ name }) => flags.only?.some((text) => name.includes(text)) ?? true,
  )
  for (const { name, missing } of chosen) if (missing) say(`${name} is left out: ${missing}`)
  const faults = chosen.filter(({ missing }) => !missing)
  if (faults.length === 0 && !flags.times && !flags.mutants)
    throw new Error(`no fault is named ${flags.only?.join(' or ')}; see --list`)
  if (flags.list) {
    for (const { name, title } of faults) say(`${name.padEnd(28)} ${title}`)
    return true
  }
  const results = new Results()
  const code = codeDigest()
  const commit = git('rev-parse', '--short', 'HEAD')
  if (flags.times) return takeTimes(results, code, commit)
  if (flags.mutants) return catchMutants(results, code, commit)
  const jobs = jobsOf(faults).filter(
    ({ program, fault, seed }) =>
      !flags.resume || !isKnown(results.find(program.name, fault, seed, code), program),
  )
  const endAt = performance.now() + number(flags.minutes, 'minutes', Infinity) * 60_000
  say(`${jobs.length} runs of code ${code} (commit ${commit})`)
  let red = 0
  await onServer(async () => {
    const waiting = jobs.values()
    const lane = async (): Promise<void> => {
      for (const job of waiting) {
        if (performance.now() > endAt) return
        if (!(await play(job, results, code, commit))) red += 1
      }
    }
    await Promise.all(Array.from({ length: number(flags.lanes, 'lanes', 2) }, lane))
  })
  writeReport(results, code)
  say(red === 0 ? 'all green' : `${red} red`)
  return red === 0
}

/** Enough for a 99th percentile that is not the greatest value. */
const SAMPLES = 200

async function takeTimes(results: Results, code: string, commit: string): Promise<boolean> {
  const changes = CHANGES.filter(({ name }) => flags.only?.some((text) => name.includes(text)) ?? true)
  await onServer(async () => {
    for (const change of changes) {
      const ms = await measure(change, number(flags.samples, 'samples', SAMPLES), say)
      results.keepTimes({ name: change.name, code, commit, load: load(), ms: ms.map(Math.round) })
    }
  })
  writeReport(results, code)
  return true
}

async function catchMutants(results: Results, code: string, commit: string): Promise<boolean> {
  let escaped = 0
  await onServer(() =>
    runMutants(({ mutant, caught, seen, run }) => {
      if (!caught) escaped += 1
      results.keepMutant({ name: mutant.name, code, commit, caught, seed: run.seed, seen })
      say(`${caught ? 'caught ' : 'ESCAPED'} ${mutant.name} by ${mutant.fault} seed ${mutant.seed}: ${seen}`)
    }),
  )
  writeReport(results, code)
  return escaped === 0
}

async function play(
  { program, fault, seed }: Job,
  results: Results,
  code: string,
  commit: string,
): Promise<boolean> {
  const compared = flags.compare ? ` --compare --program ${program.name}` : ''
  const again = `npm run faults --${compared} --only ${fault.name} --seed ${seed}`
  try {
    const run = await runFault(fault, seed, { program: program.name })
    results.keep(program.name, fault, run, code, commit)
    // A baseline is there to be seen losing.
    const isGreen = run.broken.length === 0 || program.name !== 'tidemark'
    const verdict = isGreen ? 'ok ' : 'RED'
    say(
      `${verdict} ${program.name === 'tidemark' ? '' : `${program.name}: `}${fault.name} seed ${seed}: ${run.rows} rows, ${run.lost} lost, ${run.doubled} doubled, ${run.ranAgain} ran again, ` +
        `${run.burned} burned, ${run.staleRefused} refused, silence ${run.silenceMs} ms (${(run.tookMs / 1000).toFixed(1)} s)`,
    )
    for (const broken of run.broken) say(`      ${broken}`)
    if (!isGreen) say(`      again: ${again}`)
    return isGreen
  } catch (error) {
    say(
      `RED ${fault.name} seed ${seed}: it could not happen: ${error instanceof Error ? error.stack : String(error)}`,
    )
    say(`      again: ${again}`)
    return false
  }
}

function jobsOf(faults: readonly Fault[]): Job[] {
  const { tidemark, naive, stock_queue: stockQueue } = PROGRAMS
  const programs = (flags.compare ? [tidemark, naive, stockQueue] : [tidemark]).filter(
    ({ name }) => flags.program === undefined || name === flags.program,
  )
  const seeds = (fault: Fault): number[] => {
    if (flags.seed !== undefined) return [number(flags.seed, 'seed', 1)]
    const count = number(flags.seeds, 'seeds', flags.compare ? SEEDS.long : seedsOf(fault))
    return Array.from({ length: count }, (_, i) => i + 1)
  }
  const jobs = programs.flatMap((program) =>
    faults.flatMap((fault) => seeds(fault).map((seed) => ({ program, fault, seed }))),
  )
  return jobs.toSorted((a, b) => a.seed - b.seed)
}

/** Whether a run need not be made again. A baseline's losses are no reason to. */
function isKnown(kept: Kept | undefined, program: Program): boolean {
  return kept !== undefined && (kept.broken.length === 0 || program.name !== 'tidemark')
}

async function onServer(work: () => Promise<unknown>): Promise<void> {
  const server = await throwawayServer()
  process.env[SERVER_VARIABLE] = server.url
  const interrupted = (signal: NodeJS.Signals): void =>
    void server.end().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    await work()
  } finally {
    await server.end()
  }
}

function number(text: string | undefined, flag: string, otherwise: number): number {
  if (text === undefined) return otherwise
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${flag} must be a number above 0, not ${text}`)
  return value
}

function git(...args: string[]): string {
  try {
    return execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return 'no git'
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

process.exitCode = (await main()) ? 0 : 1
