import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { COMPARED } from './baselines/faults.ts'
import { FAULTS } from './all.ts'
import { SUITE_MUTANTS } from './mutants.ts'
import { PROGRAMS } from './program.ts'
import type { ProgramName } from './program.ts'
import { CHANGES } from './times.ts'

/** What was asked of `npm run faults`. */
export interface Options {
  readonly only: readonly string[]
  readonly seeds?: number
  readonly seed?: number
  readonly minutes?: number
  readonly resume?: true
  readonly lanes: number
  readonly compare?: true
  readonly program?: ProgramName
  readonly times?: true
  readonly mutants?: true
  readonly samples: number
  readonly list?: true
}

/** Enough for a 99th percentile that is not the greatest value. */
const SAMPLES = 200

const AFTER = `
Seeds go round: all faults with the first one, then all with the second, so that a run that is cut short leaves an even table;
with --resume, those that have never run come first.
Results are kept in docs/faults.json, and docs/faults.md is made of them; --seed keeps nothing. Exit code 1 when a run was red.`

/** Reads the flags; undefined when there is nothing to do, with the exit code set. */
export function readOptions(argv: readonly string[]): Options | undefined {
  const command = new Command('npm run faults --')
    .description('Every fault with every seed, on real processes and a real PostgreSQL.')
    .option('--only <text>', 'those whose name contains it; may be repeated', collected, [])
    .option('--seeds <n>', 'seeds 1 to N (default: 20, and 5 for the long ones)', whole)
    .option('--seed <s>', 'this seed alone: to see a run again', whole)
    .option('--minutes <m>', 'begin no run after so long; a later --resume goes on', positive)
    .option('--resume', 'leave out what is known to be green for this very code')
    .option('--lanes <n>', 'runs side by side', whole, 2)
    .option('--compare', 'the faults that Tidemark and the two baselines are compared by, 5 seeds, all three')
    .addOption(new Option('--program <name>', 'of those, this one alone').choices(Object.keys(PROGRAMS)))
    .option('--times', 'the time without anyone able to lead, for each way to change leaders')
    .option('--mutants', 'builds without one safeguard each, of which every one must be caught')
    .option('--samples <n>', 'of each time', whole, SAMPLES)
    .option('--list', 'names and titles')
    .allowExcessArguments(false)
    .addHelpText('after', AFTER)
    .exitOverride()
  try {
    command.parse([...argv], { from: 'user' })
    // Each option above has the type that it is declared with here.
    const options = command.opts<Options>()
    const names = namesOf(options)
    const unknown = options.only.filter((text) => !names.some((name) => name.includes(text)))
    if (unknown.length > 0)
      command.error(
        `error: nothing is named ${unknown.join(' or ')}: see --list, and repeat --only for several`,
      )
    return options
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    process.exitCode = error.exitCode === 0 ? 0 : 64
    return undefined
  }
}

function namesOf(options: Options): string[] {
  const list = options.mutants ? SUITE_MUTANTS : options.times ? CHANGES : options.compare ? COMPARED : FAULTS
  return list.map(({ name }) => name)
}

function collected(value: string, before: readonly string[]): string[] {
  return [...before, value]
}

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new InvalidArgumentError('a number above 0 is expected.')
  return value
}

function whole(text: string): number {
  const value = positive(text)
  if (!Number.isInteger(value)) throw new InvalidArgumentError('a whole number is expected.')
  return value
}
