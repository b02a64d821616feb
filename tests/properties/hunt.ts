import { Violation } from './invariants.ts'
import { play } from './schedule.ts'
import type { Sessions } from './schedule.ts'
import type { Mutant } from './mutants.ts'
import type { World } from './world.ts'

export interface Caught {
  readonly seed: number
  readonly violation: string
}

/** Plays the mutant's own seed, then those from 1 on, until one shows the mutant's fault; undefined: it survived them all. */
export async function hunt(
  world: World,
  sessions: Sessions,
  mutant: Mutant,
  seeds: number,
): Promise<Caught | undefined> {
  const known = mutant.seed === undefined ? [] : [mutant.seed]
  for (const seed of [...known, ...Array.from({ length: seeds }, (_, i) => i + 1)]) {
    try {
      await play(world, sessions, seed, mutant)
    } catch (error) {
      // One that merely stands still loses nothing: it would be caught for a wrong reason.
      if (!(error instanceof Violation) || error.kind !== 'unsafe') throw error
      return { seed, violation: error.message }
    }
  }
  return undefined
}
