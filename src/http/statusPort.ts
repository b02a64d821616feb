/** Why an instance takes no traffic, or `'ready'`. */
export type Readiness = 'ready' | 'starting' | 'draining' | 'database_unavailable' | 'schema_incompatible'

/**
 * How a part is: `failed` when this instance cannot do it any more, `degraded` when another instance or a person
 * must mend it. The other fields say by which facts.
 */
export interface Check {
  readonly status: 'ok' | 'degraded' | 'failed'
  readonly [detail: string]: unknown
}

/** The parts that `/health` reports besides the database. */
export interface Checks {
  readonly queue: Check
  readonly leaders: Check
  readonly pollers: Check
  readonly processors: Check
}

/** What the HTTP side may ask of the rest of the process. */
export interface StatusPort {
  readiness(): Readiness
  /** One round trip to the database; rejects when it is away. */
  probeDatabase(): Promise<void>
  /** What this instance knows of its parts, without asking the database. */
  checks(): Checks
  /** The document of `tidemark status --json`. */
  status(): Promise<unknown>
}
