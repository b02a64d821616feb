/** A poller's source cannot be read so that nothing is skipped; `problem` and `remedy` say why and what to do. */
export class SourceInvalid extends Error {
  override readonly name = 'SourceInvalid'
  readonly table: string
  readonly problem: string
  readonly remedy: string
  constructor(table: string, problem: string, remedy: string) {
    super(`source ${table}: ${problem}. Remedy: ${remedy}`)
    this.table = table
    this.problem = problem
    this.remedy = remedy
  }
}

/** A poller's table or cursor columns are not those that its watermark was made for. */
export class SourceChanged extends Error {
  override readonly name = 'SourceChanged'
  constructor(poller: string, before: string, now: string) {
    super(
      `${poller} reads ${now} now, and its watermark was made for ${before}: the position means nothing there. ` +
        `Give it a new start there with \`tidemark reset ${poller} --from T\` (rows older than T are left out), give the new ` +
        'source a poller of its own name, or set the old one back',
    )
  }
}

/** A poller cannot be given this new start. */
export class ResetRefused extends Error {
  override readonly name = 'ResetRefused'
  constructor(poller: string, problem: string, remedy: string) {
    super(`${poller} was not reset: ${problem}. Remedy: ${remedy}`)
  }
}

/** A new poller's source has rows that are older than what the inbox keeps; where to begin must be said. */
export class StartFromRequired extends Error {
  override readonly name = 'StartFromRequired'
  /** `older` is null when they could not be counted in time. */
  constructor(poller: string, older: number | null, retentionMs: number) {
    const rows = older === null ? 'too many rows to be counted in time, perhaps some' : `${older} rows`
    super(
      `${poller} is new and its source has ${rows} older than its retention of ${retentionMs / 86_400_000} days: ` +
        `set startFrom to 'beginning' to take them in, to 'now', or to a time`,
    )
  }
}
