import fc from 'fast-check'
import { RunScope } from '../faults/scope.ts'
import { PARSERS } from './parsers.ts'
import { REQUESTS } from './requests.ts'
import type { Target } from './target.ts'

export const TARGETS: readonly Target[] = [...PARSERS, ...REQUESTS]

export interface Played {
  readonly runs: number
  /** What was found, with the least value that shows it; undefined: nothing. */
  readonly found: string | undefined
}

/** Tries values for so long; the same seed tries the same ones in the same order. */
export async function play(target: Target, seed: number, ms: number): Promise<Played> {
  const scope = new RunScope()
  try {
    const { property, sound } = await target.open(scope)
    const details = await fc.check(property, {
      seed,
      numRuns: Number.MAX_SAFE_INTEGER,
      interruptAfterTimeLimit: ms,
      markInterruptAsFailure: false,
    })
    const found = details.failed
      ? `${String(details.errorInstance)}\n${fc.defaultReportMessage(details)}`
      : await unsoundness(sound)
    return { runs: details.numRuns, found }
  } finally {
    await scope.end()
  }
}

async function unsoundness(sound: (() => Promise<void>) | undefined): Promise<string | undefined> {
  try {
    await sound?.()
    return undefined
  } catch (error) {
    return `afterwards: ${error instanceof Error ? error.message : String(error)}`
  }
}
