import type { Scope } from '../support/scope.ts'

/** The scope of one run: what it opened is closed in the order that node:test would close it in. */
export class RunScope implements Scope {
  readonly #hooks: (() => Promise<void> | void)[] = []

  after(fn: () => Promise<void> | void): void {
    this.#hooks.push(fn)
  }

  /** Runs every hook, those too that a hook adds; returns what they threw. */
  async end(): Promise<unknown[]> {
    const errors: unknown[] = []
    for (let hook = this.#hooks.shift(); hook !== undefined; hook = this.#hooks.shift()) {
      try {
        await hook()
      } catch (error) {
        errors.push(error)
      }
    }
    return errors
  }
}
