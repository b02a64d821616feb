import { loadStatements } from '../statements.ts'

/** Every statement of the migrator besides the migration files themselves. */
export const sql = loadStatements('migration', [
  'try_lock',
  'unlock',
  'lock_key',
  'lock_holder',
  'what_is_there',
  'make_schema',
  'make_migrations_table',
  'enter_schema',
  'leave_schema',
  'set_limits',
  'applied',
  'record',
  'invalid_indexes',
  'indexes',
  'window',
  'missing',
])
