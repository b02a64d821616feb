import type { Fault } from './fault.ts'
import { AIMED } from './faults/aimed.ts'
import { CLOCKS } from './faults/clocks.ts'
import { DEPLOYS } from './faults/deploys.ts'
import { FORCED } from './faults/forced.ts'
import { FREEZES } from './faults/freezes.ts'
import { KILLS_OF_LEADERS } from './faults/kills.ts'
import { LIMITS } from './faults/limits.ts'
import { NETWORK } from './faults/network.ts'
import { SERVER_FAULTS } from './faults/server.ts'
import { SOURCES } from './faults/sources.ts'
import { MARATHON } from './faults/marathon.ts'

/** Every fault, in the order of the table. */
export const FAULTS: readonly Fault[] = [
  ...DEPLOYS,
  ...KILLS_OF_LEADERS,
  ...FREEZES,
  ...SERVER_FAULTS,
  ...NETWORK,
  ...SOURCES,
  ...FORCED,
  ...LIMITS,
  ...CLOCKS,
  ...AIMED,
  ...MARATHON,
]
