import type { Settings } from '../config/settings.ts'
import { createLog, type Log } from '../telemetry/log.ts'

/** The log of a verb that is no instance: its lines carry the verb where an instance has its name. */
export function verbLog(settings: Settings, verbName: string): Log {
  return createLog({
    service: settings.serviceName,
    instanceId: `cli-${verbName}`,
    level: settings.logLevel,
    format: settings.logFormat,
  })
}
