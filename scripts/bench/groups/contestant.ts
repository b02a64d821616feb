import type { BenchServer } from '../server.ts'
import type { Child } from './child.ts'

/** A burst of messages: numbers from `first` to `last`, dealt out to the tenants in turn. */
export interface Burst {
  readonly first: number
  readonly last: number
  readonly tenants: number
  /** Each works this long at least, and twice as long at most. */
  readonly workMs: number
}

/** One of the two, ready to be used. */
export interface Running {
  start(name: string): Promise<Child>
  /** Before the first burst, with all processes there. */
  ready(): Promise<void>
  write(burst: Burst): Promise<void>
  /** Calls whoever may claim, as an insert does. */
  notify(): Promise<void>
  count(): Promise<{ readonly done: number; readonly held: number }>
  close(): Promise<void>
}

export interface Contestant {
  /** As its visits are marked. */
  readonly name: string
  readonly version: string
  /** What it was told, for the report. */
  readonly settings: string
  /** What its documentation says of the limit. */
  readonly promise: string
  prepare(server: BenchServer): Promise<Running>
}
