import type { Fault } from './fault.ts'
import { AIMED } from './faults/aimed.ts'
import { CLOCKS } from './faults/clocks.ts'
import { CONFIGS } from './faults/configs.ts'
import { DEPLOYS } from './faults/deploys.ts'
import { FORCED } from './faults/forced.ts'
import { FREEZES } from './faults/freezes.ts'
import { HANDLERS } from './faults/handlers.ts'
import { KILLS_OF_LEADERS } from './faults/kills.ts'
import { LIMITS } from './faults/limits.ts'
import { MARATHON } from './faults/marathon.ts'
import { MIX } from './faults/mix.ts'
import { NETWORK } from './faults/network.ts'
import { POOLER } from './faults/pooler.ts'
import { RETENTION } from './faults/retention.ts'
import { SERVER_FAULTS } from './faults/server.ts'
import { SOURCES } from './faults/sources.ts'

/** Every fault, in the order of the table. */
export const FAULTS: readonly Fault[] = [
  ...DEPLOYS,
  ...KILLS_OF_LEADERS,
  ...FREEZES,
  ...SERVER_FAULTS,
  ...NETWORK,
  ...POOLER,
  ...LIMITS,
  ...CLOCKS,
  ...SOURCES,
  ...HANDLERS,
  ...FORCED,
  ...AIMED,
  ...RETENTION,
  ...CONFIGS,
  ...MIX,
  ...MARATHON,
]
