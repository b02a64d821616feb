import type fc from 'fast-check'
import type { Scope } from '../support/scope.ts'

/** Of whatever values. */
export type AnyProperty = fc.IRawProperty<unknown>

/** Something that reads what is written outside. */
export interface Target {
  readonly name: string
  readonly what: string
  /** Makes ready; what it opens ends with the scope. */
  open(scope: Scope): Promise<Fuzzed>
}

export interface Fuzzed {
  /** What is tried, one value a run: it throws when something is answered that must not be, or takes too long. */
  readonly property: AnyProperty
  /** After the last run: whether all is as it was. */
  readonly sound?: () => Promise<void>
}

/** Longer than any reader may take, in milliseconds, on a machine that has much else to do. */
export const SLOW_MS = 2_000
