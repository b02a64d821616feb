/** A job was sent that the config does not have. */
export class JobUnknown extends Error {
  override readonly name = 'JobUnknown'
  readonly job: string
  constructor(job: string, known: readonly string[]) {
    const list = known.length === 0 ? 'it has no jobs' : `it has ${known.join(', ')}`
    super(`the config has no job ${job} (${list}); add it under \`jobs\`, or send one that is there`)
    this.job = job
  }
}

/** What was to be sent cannot be kept as the job's data, or as one of its options. */
export class JobInvalid extends Error {
  override readonly name = 'JobInvalid'
  readonly job: string
  /** Which part: `data.items[3]`, `priority`. */
  readonly what: string
  constructor(job: string, what: string, problem: string) {
    super(`${job} was not sent: ${what} ${problem}`)
    this.job = job
    this.what = what
  }
}

/** The data of a job is larger than a job may have. */
export class JobTooLarge extends Error {
  override readonly name = 'JobTooLarge'
  readonly bytes: number
  constructor(job: string, bytes: number, most: number) {
    super(
      `${job} was not sent: its data has ${bytes} bytes of JSON, and a job has ${most} at most; ` +
        'keep the content in a table and send its key',
    )
    this.bytes = bytes
  }
}

/** Jobs can be sent only between an instance's start and its stop. */
export class NotRunning extends Error {
  override readonly name = 'NotRunning'
  constructor() {
    super('jobs cannot be sent now: await start() first, and send none after stop()')
  }
}

/** A job ran past its `timeout`. */
export class JobTimedOut extends Error {
  override readonly name = 'JobTimedOut'
  constructor(job: string, timeoutMs: number) {
    super(`${job} ran longer than its timeout of ${timeoutMs} ms; its signal was aborted`)
  }
}

/** The processes that ran a job died, one after the other. */
export class JobKilledProcesses extends Error {
  override readonly name = 'JobKilledProcesses'
  constructor(deaths: number) {
    super(`${deaths} processes in a row died while they ran this job`)
  }
}

/** The instances that ran a job froze, one after the other. */
export class JobFreezesInstances extends Error {
  override readonly name = 'JobFreezesInstances'
  constructor(freezes: number) {
    super(
      `${freezes} instances in a row froze while they ran this job: let it give way to others (await, or a worker thread)`,
    )
  }
}
