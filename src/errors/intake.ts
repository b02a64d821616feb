/** PostgreSQL cannot take a request's messages in, whoever sends them and whenever: the fault is in them. */
export class IntakeRefused extends Error {
  override readonly name = 'IntakeRefused'
  /** What PostgreSQL has against them, cleaned. */
  readonly reason: string
  constructor(reason: string, cause: unknown) {
    super(`the messages of a request cannot be taken in: ${reason}`, { cause })
    this.reason = reason
  }
}

/** Nothing was heard of a request's statement in time, or it was not begun; it may have been done all the same. */
export class IntakeTooSlow extends Error {
  override readonly name = 'IntakeTooSlow'
  constructor() {
    super('the database has not taken the messages in within the time of a request')
  }
}
