import type { Fault } from './fault.ts'
import { DEPLOYS } from './faults/deploys.ts'

/** Every fault, in the order of the table. */
export const FAULTS: readonly Fault[] = [...DEPLOYS]
