/** Assertions on outcomes, for every test runner: they throw node:assert's AssertionError, which names the whole story. */
import { AssertionError } from 'node:assert'
import type { InboxMessage, JobOutcome, Outcome } from './outcome.ts'

/** What an outcome is compared by; what was thrown is shown where there is any. */
type Told = InboxMessage | Outcome | JobOutcome

/** The message, or the job, is DONE. @throws {AssertionError} with what it is instead, and with what was thrown as its cause */
export function assertDone<T extends Told>(outcome: T | undefined): asserts outcome is T {
  assertStatus(outcome, 'DONE', undefined, assertDone)
}

/**
 * The attempt failed, and another follows. `error`: part of the error's text, or a pattern of it (`'Class: first line'`, or what was thrown
 * said). @throws {AssertionError}
 */
export function assertFailed<T extends Told>(
  outcome: T | undefined,
  error?: RegExp | string,
): asserts outcome is T {
  assertStatus(outcome, 'FAILED', error, assertFailed)
}

/** Given up: no attempt is left, or it is no use to try again. `error` as in {@link assertFailed}. @throws {AssertionError} */
export function assertDead<T extends Told>(
  outcome: T | undefined,
  error?: RegExp | string,
): asserts outcome is T {
  assertStatus(outcome, 'DEAD', error, assertDead)
}

function assertStatus(
  outcome: Told | undefined,
  expected: 'DONE' | 'FAILED' | 'DEAD',
  error: RegExp | string | undefined,
  // node:assert's name for whose callers the stack begins with.
  stackStartFn: (...args: never[]) => unknown,
): void {
  const found = outcome?.status ?? 'nothing'
  const fail = (message: string, actual: unknown, wanted: unknown): never => {
    const failure = new AssertionError({
      message,
      actual,
      expected: wanted,
      operator: stackStartFn.name,
      stackStartFn,
    })
    throw Object.assign(failure, { cause: thrownBy(outcome) })
  }
  if (outcome === undefined) {
    fail(`expected ${expected}, but nothing was due: no message or job was run`, found, expected)
    return
  }
  if (found !== expected) fail(`expected ${expected}: ${story(outcome)}`, found, expected)
  if (error === undefined) return
  const texts = [outcome.error, messageOf(thrownBy(outcome))].filter((text) => text !== undefined)
  const fits = texts.some((text) => (typeof error === 'string' ? text.includes(error) : error.test(text)))
  if (!fits) fail(`expected an error like ${String(error)}: ${story(outcome)}`, outcome.error, error)
}

function story(outcome: Told): string {
  const { status, attempts, error } = outcome
  const what = 'job' in outcome ? `job ${outcome.job}` : `message ${outcome.messageId} of ${outcome.source}`
  const most = 'maxAttempts' in outcome ? ` of ${outcome.maxAttempts}` : ''
  const next =
    'nextAttemptAt' in outcome && outcome.nextAttemptAt !== undefined
      ? `; next attempt at ${outcome.nextAttemptAt.toISOString()}`
      : ''
  return `${what} is ${status} after attempt ${attempts}${most}${error === undefined ? '' : `: ${error}`}${next}`
}

function thrownBy(outcome: Told | undefined): unknown {
  return outcome !== undefined && 'thrown' in outcome ? outcome.thrown : undefined
}

function messageOf(thrown: unknown): string | undefined {
  if (thrown === undefined) return undefined
  if (thrown instanceof Error) return thrown.message
  return typeof thrown === 'string' ? thrown : JSON.stringify(thrown)
}
