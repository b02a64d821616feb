import type { Command } from 'commander'
import type { Settings } from '../../config/settings.ts'
import type { SessionAddress } from '../../db/connection.ts'
import { CODE_SCHEMA_VERSION, isBusy, migrate, missingObjects, schemaStatus } from '../../db/migrate.ts'
import type { MigrateResult } from '../../db/migrate.ts'
import { findPooling } from '../../db/pooler.ts'
import { PoolerUnfit } from '../../errors.ts'
import { BOSS_SCHEMA, BOSS_SCHEMA_VERSION, bossSchemaVersion, migrateBoss } from '../../jobs/schema.ts'
import { explainDenied } from '../../tables/permission.ts'
import type { Log } from '../../telemetry/log.ts'
import { withAddress, withDatabase } from '../database.ts'
import { EXIT } from '../exitCodes.ts'
import { verbLog } from '../log.ts'
import { messageOf } from '../message.ts'
import { withProgress } from '../progress.ts'
import type { Progress } from '../progress.ts'
import { complain, print, printJson } from '../terminal.ts'
import { databaseSetup, readingVerb, type Ending, type ReadingFlags } from '../verb.ts'

interface Flags extends ReadingFlags {
  readonly status?: true
  readonly repair?: true
}

/** `tidemark migrate`: brings our schema and pg-boss's to this release, whatever RUN_MIGRATIONS says. */
export function migrateVerb(ending: Ending): Command {
  return readingVerb('migrate', 'apply migrations under the lock, ours and pg-boss’s')
    .option('--status', 'only say where the schema is')
    .option('--repair', 'run every file again, and so make again what was dropped')
    .action(async (flags: Flags) => {
      const { settings } = await databaseSetup(flags)
      ending.code =
        flags.status === true
          ? await showStatus(settings, flags)
          : await withAddress(settings, ({ directUrl }) => apply(settings, directUrl, flags), 'directUrl')
    })
}

async function apply(settings: Settings, directUrl: string, flags: Flags): Promise<number> {
  const log = verbLog(settings, 'migrate')
  try {
    const address = await requireSession(directUrl, settings)
    const result = await withProgress((progress) => migrateBoth(address, settings, flags, log, progress))
    if (flags.json === true) printJson(result)
    else print(result.applied.length === 0 ? 'nothing to apply' : `applied: ${result.applied.join(', ')}`)
    return sayMissing(result.missing) === EXIT.done ? await sayUnfit(settings) : EXIT.failed
  } catch (error) {
    if (!isBusy(error))
      throw await withDatabase(settings, (client) =>
        explainDenied(client, error, ['service_ops', BOSS_SCHEMA]),
      ).catch(() => error)
    complain(messageOf(error))
    return EXIT.tryAgain
  } finally {
    await log.close()
  }
}

/** Our schema, then pg-boss's. */
function migrateBoth(
  address: SessionAddress,
  settings: Settings,
  flags: Flags,
  log: Log,
  progress: Progress,
): Promise<MigrateResult> {
  progress.show(undefined, 'waiting for the lock of migrations')
  return migrate({
    ...address,
    // Its lines share the terminal with ours.
    log: { event: (event, msg, fields) => progress.aside(() => log.event(event, msg, fields)) },
    onFile: (file, done, total) => progress.show(done / total, `${file}, ${done + 1} of ${total}`),
    lockWaitMs: settings.migrationLockWaitMs,
    statementTimeoutMs: settings.migrationStatementTimeoutMs,
    connectTimeoutMs: settings.connectTimeoutMs,
    repair: flags.repair === true,
    after: async (client) => {
      progress.show(1, 'the schema of pg-boss')
      await migrateBoss(client)
    },
  })
}

/** The locks that keep two migrations apart live on a session. */
async function requireSession(url: string, { connectTimeoutMs }: Settings): Promise<SessionAddress> {
  const pooling = await findPooling(url, { connectTimeoutMs })
  if (pooling === 'transaction')
    throw new PoolerUnfit(
      'a pooler in transaction mode stands before the database, and migrations need a session. Remedy: DIRECT_DATABASE_URL',
    )
  return { url, startupOptions: pooling === 'none' }
}

async function showStatus(settings: Settings, flags: Flags): Promise<number> {
  const status = await withDatabase(settings, async (client) => ({
    ...(await schemaStatus(client)),
    codeVersion: CODE_SCHEMA_VERSION,
    missing: await missingObjects(client),
    boss: { version: await bossSchemaVersion(client), codeVersion: BOSS_SCHEMA_VERSION },
  }))
  if (flags.json === true) {
    printJson(status)
  } else {
    print(status.reason)
    print(
      `pg-boss: schema version ${status.boss.version ?? 'none'}; this release needs ${status.boss.codeVersion}`,
    )
  }
  // Before the first migration everything is missing, and that is no damage.
  const repairable = status.version === null ? [] : status.missing
  const bossFits = (status.boss.version ?? 0) >= status.boss.codeVersion
  return sayMissing(repairable) === EXIT.done && status.fits && bossFits ? EXIT.done : EXIT.failed
}

/** A schema that a newer release made may not serve this one, and no file of ours can mend that. */
async function sayUnfit(settings: Settings): Promise<number> {
  const { fits, reason } = await withDatabase(settings, (client) => schemaStatus(client))
  if (fits) return EXIT.done
  complain(reason)
  return EXIT.failed
}

function sayMissing(missing: readonly string[]): number {
  if (missing.length === 0) return EXIT.done
  complain(`missing: ${missing.join(', ')}; make them again with \`tidemark migrate --repair\``)
  return EXIT.failed
}
