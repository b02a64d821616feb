import { CODE_SCHEMA_VERSION, missingObjects, schemaStatus } from '../db/migrate.ts'
import { editedFiles } from '../db/migrate/apply.ts'
import { LIBRARY_LOCK, lockHolder, ownLock } from '../db/migrate/lock.ts'
import { BOSS_SCHEMA, BOSS_SCHEMA_VERSION, bossSchemaVersion } from '../jobs/schema.ts'
import { span } from '../kit/span.ts'
import { fault, note, warning, type Check, type Finding } from './check.ts'
import { sql } from './statements.ts'

/** Do the schemas fit this release? */

export const schema: Check = {
  name: 'schema',
  title: 'The schema is whole, is what this release was written for, and was made by its files.',
  async run(context) {
    const database = context.database()
    const { version, fits, reason } = await schemaStatus(database)
    if (version === null) return [fault(reason, 'tidemark migrate (after a loss, with --repair)')]
    const found: Finding[] = []
    if (!fits)
      found.push(fault(reason, version < CODE_SCHEMA_VERSION ? 'tidemark migrate' : 'deploy a newer release'))
    if (fits && version > CODE_SCHEMA_VERSION) {
      const seen = `a newer release has migrated: the schema is at version ${version}, this release was written for ${CODE_SCHEMA_VERSION}`
      found.push(note(seen, 'none, while a deploy is under way; else deploy the newer release again'))
    }
    if (!fits) return found
    for (const name of await missingObjects(database))
      found.push(fault(`${name} is missing`, 'tidemark migrate --repair'))
    const applied = (await database.query<{ id: number; hash: string }>(sql.applied)).rows
    for (const file of await editedFiles(applied)) {
      const seen = `${file} is not the file that was applied to this database: the next migration would refuse to run`
      found.push(fault(seen, 'install the release again (npm ci), with LF line ends'))
    }
    return found
  },
}

export const queueSchema: Check = {
  name: 'queue_schema',
  title: "pg-boss's schema is what this release was written for.",
  async run(context) {
    const found = await bossSchemaVersion(context.database())
    if (found === null)
      return [
        fault(
          `there is no schema ${BOSS_SCHEMA}: no job runs, and no pass falls due by one`,
          'tidemark migrate',
        ),
      ]
    if (found < BOSS_SCHEMA_VERSION) {
      const seen = `the schema ${BOSS_SCHEMA} is at version ${found} and this release needs ${BOSS_SCHEMA_VERSION}: instances stay not ready`
      return [fault(seen, 'tidemark migrate')]
    }
    if (found === BOSS_SCHEMA_VERSION) return []
    const seen = `the schema ${BOSS_SCHEMA} is at version ${found}, newer than the ${BOSS_SCHEMA_VERSION} of this release`
    return [note(seen, 'none, while a deploy is under way')]
  },
}

export const migrationLock: Check = {
  name: 'migration_lock',
  title: 'Nobody keeps the migration lock.',
  async run(context) {
    const database = context.database()
    const found: Finding[] = []
    // The second is that of every program on this database that uses postgres-migrations.
    for (const { name, key } of [await ownLock(database), LIBRARY_LOCK]) {
      const holder = await lockHolder(database, key)
      if (holder === null || (holder.ageS !== null && holder.ageS * 1000 < context.limits.oldTransactionMs))
        continue
      const { pid, application, ageS, howToEnd } = holder
      const age = ageS === null ? 'a session whose age is hidden' : `a session of ${span(ageS)}`
      const seen = `pid ${pid} (${application ?? 'unknown application'}, ${age}) holds the migration lock ${name}: no release can migrate`
      found.push(warning(seen, howToEnd))
    }
    return found
  },
}
