/**
 * What ends with a test: its context. Several tests that share something are `t.test(...)` of one test, not a suite:
 * node:test's own `after`, when it is called in a `before` hook, runs as soon as that hook is over.
 */
export interface Scope {
  after(fn: () => Promise<void> | void): void
}

/**
 * Runs `fn` after the hooks that the test registers later. node:test runs hooks in the order of their registration, so
 * a database would be dropped before what uses it is stopped; one registered when its turn comes is last again.
 */
export function atEnd(scope: Scope, fn: () => Promise<void> | void): void {
  scope.after(() => scope.after(fn))
}
