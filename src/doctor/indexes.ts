import { fault, warning, type Check } from './check.ts'
import { sql } from './statements.ts'
import { sourceTables } from './vacuum.ts'

/** Indexes that do nothing, and indexes that do harm. */

const SCHEMAS = ['service_ops', 'pgboss']

/** What a claim or an outcome writes to a message. */
const HOT_COLUMNS = ['status', 'claim', 'attempts', 'locked_by', 'locked_at', 'processed_at', 'updated_at']

export const invalidIndexes: Check = {
  name: 'invalid_indexes',
  title: "Every index of Tidemark's tables, pg-boss's and the sources is whole.",
  async run(context) {
    type Row = { name: string; table: string; remedy: string }
    const { rows } = await context
      .database()
      .query<Row>(sql.invalid_indexes, [SCHEMAS, sourceTables(context)])
    return rows.map(({ name, table, remedy }) =>
      fault(`the index ${name} of ${table} is invalid: it costs every write and serves no read`, remedy),
    )
  },
}

/** Room for the claim and the outcome of every message on its page. */
const FILLFACTOR_MOST = 60
const FILLFACTOR = 45

export const hotUpdates: Check = {
  name: 'hot_updates',
  title:
    'Claims and outcomes stay on their page of the inbox and write to no index of it: else both are half as fast.',
  async run(context) {
    type Row = { name: string; columns: string; remedy: string }
    const database = context.database()
    const { rows } = await database.query<Row>(sql.hot_indexes, [HOT_COLUMNS])
    const [inbox] = (await database.query<{ fillfactor: number }>(sql.inbox_fill)).rows
    const found = rows.map(({ name, columns, remedy }) =>
      warning(
        `the index ${name} mentions ${columns}: every claim and every outcome writes to all indexes of the inbox`,
        remedy,
      ),
    )
    if (inbox !== undefined && inbox.fillfactor > FILLFACTOR_MOST) {
      found.push(
        warning(
          `the pages of service_ops.integration_inbox are filled to ${inbox.fillfactor} %: an outcome has no room beside its message`,
          `ALTER TABLE service_ops.integration_inbox SET (fillfactor = ${FILLFACTOR})`,
        ),
      )
    }
    return found
  },
}
