import type { Scope } from '../support/scope.ts'

const open = new Set<RunScope>()

/** Ends every run that is under way: whoever interrupts it must find nothing left. */
export async function endOpenScopes(): Promise<void> {
  await Promise.all([...open].map((scope) => scope.end()))
}

/** The scope of one run: what it opened is closed in the order that node:test would close it in. */
export class RunScope implements Scope {
  readonly #hooks: (() => Promise<void> | void)[] = []
  #ending: Promise<unknown[]> | undefined

  constructor() {
    open.add(this)
  }

  after(fn: () => Promise<void> | void): void {
    this.#hooks.push(fn)
  }

  /** Runs every hook, those too that a hook adds; returns what they threw. A second call waits for the first. */
  end(): Promise<unknown[]> {
    return (this.#ending ??= this.#end())
  }

  async #end(): Promise<unknown[]> {
    const errors: unknown[] = []
    for (let hook = this.#hooks.shift(); hook !== undefined; hook = this.#hooks.shift()) {
      try {
        await hook()
      } catch (error) {
        errors.push(error)
      }
    }
    open.delete(this)
    return errors
  }
}
