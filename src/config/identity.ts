import { randomBytes, randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { Settings } from './settings.ts'

/** Who this process is. */
export interface Identity {
  /** Readable name, new at every start: `<machine>-<6 hex>`. In logs, `locked_by` and `runner_instance`. */
  readonly instanceId: string
  /** The fence of everything that this process leads: a uuid that no other start ever has. */
  readonly holder: string
}

/**
 * `application_name` holds 63 bytes; `tidemark:` and `-` with six digits take 16 of them, and what is cut
 * would make two instances look like one.
 */
const MACHINE_LENGTH = 40

/** A fresh identity: named after the Fly.io machine, or after the host where there is none. */
export function createIdentity(settings: Pick<Settings, 'machineId'>, host = hostname()): Identity {
  const machine = (settings.machineId ?? host)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, MACHINE_LENGTH)
  return {
    instanceId: `${machine === '' ? 'host' : machine}-${randomBytes(3).toString('hex')}`,
    holder: randomUUID(),
  }
}
