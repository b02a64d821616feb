import type { BenchServer } from './server.ts'
import { measure } from './meter.ts'
import type { Measured } from './meter.ts'

/** What competes in a part. Everything but `run` is outside the clock. */
export interface Contestant {
  readonly name: string
  /** The table that it writes most, for the share of heap-only updates. */
  readonly table: string
  /** Brings tables and connections to the start line. What it returns is timed, then checked, then closed. */
  prepare(): Promise<Heat>
}

/** One contestant at the start line. */
export interface Heat {
  /** The timed work. */
  readonly run: () => Promise<void>
  /** Closes what `prepare` opened; counters of the server are complete only then. */
  readonly close: () => Promise<void>
  /** Throws unless every message was treated exactly once. */
  readonly check: () => Promise<void>
}

/** A ratio of medians that must be reached. */
export interface Floor {
  readonly of: string
  readonly against: string
  readonly least: number
}

export interface Part {
  readonly name: string
  readonly title: string
  readonly messages: number
  readonly contestants: readonly Contestant[]
  /** Others are shown as ratios to this one. */
  readonly against: string
  readonly floors: readonly Floor[]
}

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
      heats.get(contestant.name)?.push(await measure(server, contestant.table, heat, part.messages))
      await heat.check()
    }
  }
  return { part, heats }
}
