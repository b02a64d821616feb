import type { BenchServer } from './server.ts'

/** What competes in a part. Everything but `run` is outside the clock. */
export interface Contestant {
  readonly name: string
  /** The table that it updates most, for the share of heap-only updates; null: it does not use PostgreSQL. */
  readonly table: string | null
  /** The database that it lies in. Default: the bench's own. */
  readonly server?: BenchServer
  /** The settings it runs with, and where they come from. */
  readonly settings?: string
  /** What it promises of a message, and what not: speed alone says little. */
  readonly guarantees?: string
  /** Brings tables and connections to the start line. What it returns is timed, then checked, then closed. */
  prepare(): Promise<Heat>
}

/** One contestant at the start line. */
export interface Heat {
  /** The timed work. */
  readonly run: () => Promise<void>
  /** Right after the clock: throws unless all is done in the database already. */
  readonly settled?: () => Promise<void>
  /** Closes what `prepare` opened; counters of the server are complete only then. */
  readonly close: () => Promise<void>
  /** Throws unless every message was treated exactly once. */
  readonly check: () => Promise<void>
  /** The server whose CPU it uses. Default: the PostgreSQL of the bench. */
  readonly serverPid?: number
  /** Processes of its own, whose CPU counts as node's. */
  readonly processes?: readonly number[]
}

/** A ratio of medians that must be reached. */
export interface Floor {
  readonly of: string
  readonly against: string
  readonly least: number
}

/** A value that must not be exceeded. */
export interface Limit {
  readonly of: string
  readonly value: number
  readonly unit: string
  readonly most: number
}

export interface Part {
  readonly name: string
  readonly title: string
  readonly messages: number
  readonly contestants: readonly Contestant[]
  /** Others are shown as ratios to this one. */
  readonly against: string
  /** One of a contestant that is left out is left out, too. */
  readonly floors: readonly Floor[]
  /** What a reader has to know: who is left out, and what to do about it. */
  readonly notes?: readonly string[]
  /** Ends what the contestants share. */
  readonly close?: () => Promise<void>
  /** What is measured when all have run, by how fast each was: messages a second. */
  readonly limits?: (speedOf: (contestant: string) => number) => Promise<readonly Limit[]>
}

/** How much is measured. */
export interface Sizes {
  /** Messages a round. */
  readonly rows: number
  readonly rounds: number
  /** Less of everything. */
  readonly quick: boolean
  /** How long a part goes on that measures over time. Default: the part's own. */
  readonly minutes?: number | undefined
  /** Finished rows in the fullest inbox of the part scale. Default: 10 million, quick 1 million. */
  readonly finished?: number | undefined
}

/** A floor or a limit as a sentence, and whether it was kept. */
export interface Verdict {
  readonly line: string
  readonly reached: boolean
}

/** What a part came to. */
export interface Outcome {
  /** Its object in the document of --json, beside its name. */
  readonly json: object
  /** The same for people, its verdicts' lines included. */
  readonly text: string
  /** One that was not reached is said again at the end, and makes the bench end with 1. */
  readonly verdicts: readonly Verdict[]
}

/** A part of `npm run bench`, as --only names it. */
export interface BenchPart {
  readonly name: string
  /** A line for --list. */
  readonly about: string
  /** Runs only when --only names it: it takes long. */
  readonly onRequest?: true
  /** @param tell says what is going on, to people at a terminal */
  run(server: BenchServer, sizes: Sizes, tell: (what: string) => void): Promise<Outcome>
}
