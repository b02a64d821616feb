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

export const hotIndexes: Check = {
  name: 'hot_indexes',
  title:
    'No index of the inbox has a column that claims and outcomes change: with one, both are half as fast.',
  async run(context) {
    type Row = { name: string; columns: string; remedy: string }
    const { rows } = await context.database().query<Row>(sql.hot_indexes, [HOT_COLUMNS])
    return rows.map(({ name, columns, remedy }) =>
      warning(
        `the index ${name} mentions ${columns}: every claim and every outcome writes to all indexes of the inbox`,
        remedy,
      ),
    )
  },
}
