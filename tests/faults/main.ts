import { execFileSync } from 'node:child_process'
import { SERVER_VARIABLE, throwawayServer } from '../support/server.ts'
import { FAULTS } from './all.ts'
import { COMPARED } from './baselines/faults.ts'
import { SEEDS, seedsOf } from './fault.ts'
import type { Fault } from './fault.ts'
import { runMutants, SUITE_MUTANTS } from './mutants.ts'
import { readOptions } from './options.ts'
import type { Options } from './options.ts'
import { PROGRAMS } from './program.ts'
import type { Program } from './program.ts'
import { writeReport } from './report.ts'
import { codeDigest, Results } from './results.ts'
import type { Kept } from './results.ts'
import { runFault } from './run.ts'
import { endOpenScopes } from './scope.ts'
import { CHANGES, load, measure } from './times.ts'

/*
 * npm run faults: see --help (options.ts).
 */

interface Job {
  readonly program: Program
  readonly fault: Fault
  readonly seed: number
}

async function main(flags: Options): Promise<boolean> {
  const isChosen = chooser(flags)
  const chosen = (flags.compare ? COMPARED : FAULTS).filter(isChosen)
  for (const { name, missing } of chosen) if (missing) say(`${name} is left out: ${missing}`)
  const faults = chosen.filter(({ missing }) => !missing)
  if (flags.list) {
    for (const { name, title } of faults) say(`${name.padEnd(28)} ${title}`)
    return true
  }
  const results = new Results()
  const code = codeDigest()
  const commit = git('rev-parse', '--short', 'HEAD')
  if (flags.times) return takeTimes(flags, results, code, commit)
  if (flags.mutants) return catchMutants(flags, results, code, commit)
  const wanted = jobsOf(flags, faults)
  const jobs = flags.resume ? leftOf(wanted, results, code) : wanted
  const endAt = performance.now() + (flags.minutes ?? Infinity) * 60_000
  say(`${jobs.length} runs of code ${code} (commit ${commit})`)
  let red = 0
  await onServer(async () => {
    const lane = async (waiting: Iterable<Job>): Promise<void> => {
      for (const job of waiting) {
        if (performance.now() > endAt) return
        if (!(await play(flags, job, results, code, commit))) red += 1
      }
    }
    const beside = jobs.filter(({ fault }) => fault.silenceMs === undefined).values()
    await Promise.all(Array.from({ length: flags.lanes }, () => lane(beside)))
    // What promises a time has the machine for itself, and loads it as no other does.
    await lane(jobs.filter(({ fault }) => fault.silenceMs !== undefined))
  })
  if (flags.seed === undefined) writeReport(results, code)
  say(red === 0 ? 'all green' : `${red} red`)
  return red === 0
}

function chooser({ only }: Options): (one: { readonly name: string }) => boolean {
  return ({ name }) => only.length === 0 || only.some((text) => name.includes(text))
}

async function takeTimes(flags: Options, results: Results, code: string, commit: string): Promise<boolean> {
  const changes = CHANGES.filter(chooser(flags))
  await onServer(async () => {
    for (const change of changes) {
      const ms = await measure(change, flags.samples, say)
      results.keepTimes({ name: change.name, code, commit, load: load(), ms: ms.map(Math.round) })
    }
  })
  writeReport(results, code)
  return true
}

async function catchMutants(
  flags: Options,
  results: Results,
  code: string,
  commit: string,
): Promise<boolean> {
  let escaped = 0
  await onServer(() =>
    runMutants(SUITE_MUTANTS.filter(chooser(flags)), ({ mutant, caught, seen, run }) => {
      if (!caught) escaped += 1
      results.keepMutant({ name: mutant.name, code, commit, caught, seed: run.seed, seen })
      say(`${caught ? 'caught ' : 'ESCAPED'} ${mutant.name} by ${mutant.fault} seed ${mutant.seed}: ${seen}`)
    }),
  )
  writeReport(results, code)
  return escaped === 0
}

async function play(
  flags: Options,
  { program, fault, seed }: Job,
  results: Results,
  code: string,
  commit: string,
): Promise<boolean> {
  const compared = flags.compare ? ` --compare --program ${program.name}` : ''
  const again = `npm run faults --${compared} --only ${fault.name} --seed ${seed}`
  try {
    const run = await runFault(fault, seed, { program: program.name })
    if (flags.seed === undefined) results.keep(program.name, fault, run, code, commit)
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

function jobsOf(flags: Options, faults: readonly Fault[]): Job[] {
  const { tidemark, naive, stock_queue: stockQueue } = PROGRAMS
  const programs = (flags.compare ? [tidemark, naive, stockQueue] : [tidemark]).filter(
    ({ name }) => flags.program === undefined || name === flags.program,
  )
  const seeds = (fault: Fault): number[] => {
    if (flags.seed !== undefined) return [flags.seed]
    const count = flags.seeds ?? (flags.compare ? SEEDS.long : seedsOf(fault))
    return Array.from({ length: count }, (_, i) => i + 1)
  }
  const jobs = programs.flatMap((program) =>
    faults.flatMap((fault) => seeds(fault).map((seed) => ({ program, fault, seed }))),
  )
  return jobs.toSorted((a, b) => a.seed - b.seed)
}

/** What is not known yet of this code; first of all what is not known of any. */
function leftOf(jobs: readonly Job[], results: Results, code: string): Job[] {
  const left = jobs.filter(
    ({ program, fault, seed }) => !isKnown(results.find(program.name, fault, seed, code), program),
  )
  const isNew = ({ program, fault, seed }: Job): boolean => !results.has(program.name, fault, seed)
  return [...left.filter(isNew), ...left.filter((job) => !isNew(job))]
}

/** Whether a run need not be made again. A baseline's losses are no reason to. */
function isKnown(kept: Kept | undefined, program: Program): boolean {
  return kept !== undefined && (kept.broken.length === 0 || program.name !== 'tidemark')
}

async function onServer(work: () => Promise<unknown>): Promise<void> {
  const server = await throwawayServer()
  process.env[SERVER_VARIABLE] = server.url
  const interrupted = (signal: NodeJS.Signals): void => {
    say(`${signal}: ending what was begun`)
    void endOpenScopes()
      .then(() => server.end())
      .finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  }
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted).once('SIGHUP', interrupted)
  try {
    await work()
  } finally {
    await server.end()
  }
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

const options = readOptions(process.argv.slice(2))
if (options !== undefined) process.exitCode = (await main(options)) ? 0 : 1
