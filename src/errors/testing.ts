/** No database for a test can be had; `remedy` says what to do. */
export class TestDatabaseImpossible extends Error {
  override readonly name = 'TestDatabaseImpossible'
  readonly remedy: string
  constructor(problem: string, remedy: string, options?: ErrorOptions) {
    super(`no database for this test: ${problem}. Remedy: ${remedy}`, options)
    this.remedy = remedy
  }
}

/** A step that was asked of a test's runner cannot be made; the message says why. */
export class TestStepImpossible extends Error {
  override readonly name = 'TestStepImpossible'
}
