import { measure } from './meter.ts'
import type { Measured } from './meter.ts'
import type { Part } from './part.ts'
import type { BenchServer } from './server.ts'

export interface PartResult {
  readonly part: Part
  readonly heats: ReadonlyMap<string, readonly Measured[]>
}

/**
 * Runs every contestant once a round, A B C A B C: what else the machine does then falls on all alike, which it does
 * not when each runs its rounds in a row.
 */
export async function compete(
  server: BenchServer,
  part: Part,
  rounds: number,
  onHeat: (contestant: string, round: number) => void,
): Promise<PartResult> {
  const heats = new Map<string, Measured[]>(part.contestants.map(({ name }) => [name, []]))
  for (let round = 1; round <= rounds; round += 1) {
    for (const contestant of part.contestants) {
      onHeat(contestant.name, round)
      const heat = await contestant.prepare()
      heats
        .get(contestant.name)
        ?.push(await measure(contestant.server ?? server, contestant, heat, part.messages))
      await heat.check()
    }
  }
  return { part, heats }
}
