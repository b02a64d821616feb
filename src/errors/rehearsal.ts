/** A rehearsal cannot begin, or cannot go on: the message says what is in the way and what to do about it. */
export class RehearsalImpossible extends Error {
  override readonly name = 'RehearsalImpossible'
  constructor(what: string, remedy: string, options?: ErrorOptions) {
    super(`${what}: ${remedy}`, options)
  }
}
