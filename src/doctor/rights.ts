import { PermissionMissing } from '../errors.ts'
import { hiddenTables, requireGrants } from '../tables/permission.ts'
import { fault, unseen, warning, type Check, type Finding } from './check.ts'
import { sql } from './statements.ts'

/** What this role may do and see. */

const SCHEMAS = ['service_ops', 'pgboss']

export const rights: Check = {
  name: 'rights',
  title: "The role has every right that an instance needs on Tidemark's tables and pg-boss's.",
  async run(context) {
    const database = context.database()
    const found: Finding[] = []
    try {
      await requireGrants(database, SCHEMAS)
    } catch (error) {
      if (!(error instanceof PermissionMissing)) throw error
      const { role, missing } = error
      found.push(
        ...missing.map(({ object, grant }) => fault(`role ${role} lacks rights on ${object}`, grant)),
      )
    }
    if (!context.settings.runMigrations) return found
    type Row = { role: string; owner: string | null; tables: number }
    const [row] = (await database.query<Row>(sql.owners)).rows
    if (row !== undefined && row.owner !== null) {
      found.push(
        warning(
          `RUN_MIGRATIONS is 1 and role ${row.role} may not change the ${row.tables} tables and views of ${row.owner}: the next release that migrates stays not ready`,
          `GRANT ${row.owner} TO ${row.role}; or RUN_MIGRATIONS=0, and tidemark migrate as ${row.owner}`,
        ),
      )
    }
    return found
  },
}

export const sight: Check = {
  name: 'sight',
  title:
    'The role sees since when the transactions of other roles are open, without which some late rows are left to the sweep.',
  async run(context) {
    type Row = { sees_all: boolean; hidden: number; role: string; remedy: string }
    const [row] = (await context.database().query<Row>(sql.sight)).rows
    if (row === undefined || row.sees_all) return []
    const now = row.hidden === 0 ? '' : `; that of ${row.hidden} sessions is hidden now`
    return [
      warning(
        `role ${row.role} does not see when the transactions of other roles began${now}: a row that is written by a second transaction of one message is found by the sweep alone`,
        row.remedy,
      ),
    ]
  },
}

export const rowSecurity: Check = {
  name: 'row_security',
  title: "Row-level security hides none of Tidemark's own rows.",
  async run(context) {
    const hidden = await hiddenTables(context.database(), SCHEMAS)
    return hidden.map(({ name, remedy }) =>
      fault(
        `row-level security of ${name} may hide its rows from this role: messages would wait for ever`,
        remedy,
      ),
    )
  },
}

/** For checks that see only a part: what they did not see. */
export function unseenSessions(hidden: number, remedy: string): Finding[] {
  if (hidden === 0) return []
  return [
    unseen(
      `${hidden} sessions of other roles: whether a transaction of theirs is old cannot be seen`,
      remedy,
    ),
  ]
}
