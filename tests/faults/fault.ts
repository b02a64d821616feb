import type { Random } from '../properties/random.ts'
import type { Setting, Stage } from './stage.ts'

/**
 * One thing that goes wrong, on a stage where three instances work under load. A run sets the stage, lets the fault
 * happen, keeps the load on until fresh rows are processed again, lets everything come to its end, and judges.
 *
 * The seed decides what the writers write, whom the fault hits and when; the scheduler of the machine decides the rest,
 * so a seed repeats the choices and not every interleaving.
 */
export interface Fault extends Setting {
  readonly name: string
  /** For the table: what happens, in one line. */
  readonly title: string
  /** Why it cannot happen on this machine, or false. */
  readonly missing?: string | false
  /** It waits out a lease, a restart or a minute: fewer seeds. */
  readonly isLong?: true
  /** Part of the short form, which every run of the tests has. */
  readonly inShortForm?: true
  /** A fault of the clock or of the sources makes a check meaningless: why, by its name. */
  readonly without?: Readonly<Record<string, string>>
  readonly instances?: number
  /** How many seeds a full table asks for, where it is another number. */
  readonly seeds?: number
  /** The longest silence between two passes that is allowed. Default: it is only said. */
  readonly silenceMs?: number
  /** Before any instance starts: tables are there, migrations are done. */
  readonly prepare?: (stage: Stage) => Promise<void>
  readonly happen: (stage: Stage, random: Random) => Promise<void>
}

/** How many seeds a full table asks for. */
export const SEEDS = { short: 20, long: 5 } as const

export function seedsOf(fault: Fault): number {
  return fault.seeds ?? (fault.isLong === true ? SEEDS.long : SEEDS.short)
}
