import { dashboard, tokens } from './access.ts'
import type { Check } from './check.ts'
import { clock } from './clock.ts'
import { connections, pool } from './connections.ts'
import { cursorIndex } from './cursorIndex.ts'
import { drainLimits, handlerLimits } from './drain.ts'
import { flyEnv, flyFile } from './fly/deployed.ts'
import { flyProcess, flyStop } from './fly/leaving.ts'
import { flyChecks, flyDeploy, flyMigrations, flyPorts, flyRestart } from './fly/replacing.ts'
import { hotUpdates, invalidIndexes } from './indexes.ts'
import { addresses, database } from './reach.ts'
import { rights, rowSecurity, sight } from './rights.ts'
import { runtime } from './runtime.ts'
import { migrationLock, queueSchema, schema } from './schema.ts'
import { deadClients, durability, primary, roleSettings, serverVersion } from './server.ts'
import { sourceBacklog, sources, sourceTimes } from './sources.ts'
import { messages, processing, tasks } from './tasks.ts'
import { longTransactions, preparedTransactions, replicationSlots } from './transactions.ts'
import { vacuum, wraparound } from './vacuum.ts'

/** Everything that is looked at, in this order; docs/doctor.md has a line for each. */
export const CHECKS: readonly Check[] = [
  // This process and its settings
  runtime,
  tokens,
  dashboard,
  drainLimits,
  handlerLimits,
  // The database
  database,
  addresses,
  primary,
  serverVersion,
  durability,
  deadClients,
  roleSettings,
  connections,
  pool,
  clock,
  // Rights and schemas
  rights,
  sight,
  rowSecurity,
  schema,
  queueSchema,
  migrationLock,
  // The sources
  sources,
  sourceTimes,
  sourceBacklog,
  cursorIndex,
  // What slows it down, or holds it
  longTransactions,
  preparedTransactions,
  replicationSlots,
  vacuum,
  wraparound,
  invalidIndexes,
  hotUpdates,
  // The work
  tasks,
  processing,
  messages,
  // Fly.io
  flyFile,
  flyEnv,
  flyStop,
  flyProcess,
  flyDeploy,
  flyChecks,
  flyRestart,
  flyMigrations,
  flyPorts,
]
