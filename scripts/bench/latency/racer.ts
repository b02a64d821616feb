import type { BullConnection } from '../peerTypes.ts'

/** One way to add something, and the name that it has in the table. */
export interface Way {
  readonly name: string
  /** Adds one; resolves when whoever adds has its answer. */
  add(n: number): Promise<void>
}

/** A contestant that runs, in its own process. */
export interface Racer {
  readonly ways: readonly Way[]
  close(): Promise<void>
}

/** Where it finds its servers. */
export interface RacerServers {
  readonly url: string
  readonly redis?: BullConnection | undefined
}

export interface RacerOptions extends RacerServers {
  /** Called in the first line of its handlers. */
  readonly started: () => void
}

export type MakeRacer = (options: RacerOptions) => Promise<Racer>

/** What a racer's process is told: add by this way. */
export interface Turn {
  readonly way: string
  readonly n: number
}

/** What it says: the ways that it has, how long a turn took, or why it cannot go on. */
export type Said =
  | { readonly ways: readonly string[] }
  | { readonly toHandlerMs: number; readonly toAnswerMs: number }
  | { readonly failure: string }
