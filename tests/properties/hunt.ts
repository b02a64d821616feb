import { Violation } from './invariants.ts'
import { play } from './schedule.ts'
import type { Sessions } from './schedule.ts'
import type { Strategy } from './strategy.ts'
import type { World } from './world.ts'

export interface Caught {
  readonly seed: number
  readonly violation: string
}

/** Plays seeds from 1 on until one shows the mutant's fault; undefined: it survived them all. */
export async function hunt(
  world: World,
  sessions: Sessions,
  mutant: Strategy,
  seeds: number,
): Promise<Caught | undefined> {
  for (let seed = 1; seed <= seeds; seed += 1) {
    try {
      await play(world, sessions, seed, mutant)
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      return { seed, violation: error.message }
    }
  }
  return undefined
}
