export { defineConfig } from './config/define.ts'
export { createRunner } from './runner.ts'
export type { Part, Runner, RunnerOptions } from './runner.ts'
export type { RedriveOptions } from './jobs/deadJobs.ts'
export { readSettings } from './config/settings.ts'
export type { Settings, SettingsContext } from './config/settings.ts'
export type {
  BatchOutcome,
  BatchProcessorConfig,
  CleanUp,
  DeliverConfig,
  DeliveringProcessorConfig,
  Duration,
  ExternalProcessorConfig,
  HandlerContext,
  IntakeConfig,
  Job,
  JobConfig,
  Message,
  PollerConfig,
  ProcessorConfig,
  Send,
  SendOptions,
  SourceConfig,
  TidemarkConfig,
  TransactionalContext,
  TransactionalProcessorConfig,
} from './config/types.ts'
export { getOrCreate } from './process/getOrCreate.ts'
export { withRowLock } from './process/withRowLock.ts'
export { createLog } from './telemetry/log.ts'
export type { HandlerLog, Log, LogOptions } from './telemetry/log.ts'
export * from './errors.ts'
