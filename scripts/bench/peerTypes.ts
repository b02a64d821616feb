/*
 * What the bench uses of its peers, written down by hand: types must check where they are not installed. pg-boss is the
 * project's own dependency, too, in the same version, so its types are at hand (from here, not from the folder of the peers: those
 * of two installations do not fit each other).
 */

export interface Peers {
  readonly 'graphile-worker': GraphileModule
  readonly 'pg-boss': typeof import('pg-boss')
  readonly bullmq: BullModule
}

/** graphile-worker: `dist/index.d.ts`, its `WorkerOptions`. */
export interface GraphilePreset {
  readonly worker: {
    readonly connectionString: string
    readonly schema?: string
    readonly concurrentJobs?: number
    readonly maxPoolSize?: number
    /** Milliseconds. */
    readonly pollInterval?: number
    readonly localQueue?: { readonly size: number }
    /** Milliseconds; -1 is one statement a job. */
    readonly completeJobBatchDelay?: number
    readonly failJobBatchDelay?: number
    readonly logger?: unknown
  }
}

export type GraphileTask = (payload: unknown) => Promise<void> | void

export interface GraphileJob {
  readonly identifier: string
  readonly payload: unknown
}

export interface GraphileRunner {
  addJob(identifier: string, payload: unknown): Promise<unknown>
  addJobs(jobs: readonly GraphileJob[]): Promise<unknown>
  stop(): Promise<void>
}

export interface GraphileUtils {
  migrate(): Promise<void>
  addJob(identifier: string, payload: unknown): Promise<unknown>
  addJobs(jobs: readonly GraphileJob[]): Promise<unknown>
  release(): Promise<void>
}

export interface GraphileModule {
  run(options: {
    readonly preset: GraphilePreset
    readonly taskList: Readonly<Record<string, GraphileTask>>
    readonly noHandleSignals: true
  }): Promise<GraphileRunner>
  makeWorkerUtils(options: { readonly preset: GraphilePreset }): Promise<GraphileUtils>
  readonly Logger: new (factory: () => () => void) => unknown
}

/** Where the Redis is; `maxRetriesPerRequest: null` is what BullMQ asks of workers' connections. */
export interface BullConnection {
  readonly host: string
  readonly port: number
  readonly maxRetriesPerRequest: null
}

export interface BullJob {
  readonly id?: string
  readonly data: unknown
}

export interface BullQueue {
  add(name: string, data: unknown): Promise<BullJob>
  addBulk(jobs: readonly { readonly name: string; readonly data: unknown }[]): Promise<readonly BullJob[]>
  getJobCounts(...states: readonly string[]): Promise<Readonly<Record<string, number>>>
  obliterate(options: { readonly force: boolean }): Promise<void>
  waitUntilReady(): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
  close(): Promise<void>
}

export interface BullWorker {
  /** Resolves when it is closed. */
  run(): Promise<void>
  waitUntilReady(): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'completed', listener: (job: BullJob) => void): unknown
  close(force?: boolean): Promise<void>
}

export interface BullModule {
  readonly Queue: new (name: string, options: { readonly connection: BullConnection }) => BullQueue
  readonly Worker: new (
    name: string,
    processor: (job: BullJob) => Promise<unknown>,
    options: {
      readonly connection: BullConnection
      readonly concurrency?: number
      /** False: it starts by `run`. */
      readonly autorun?: boolean
    },
  ) => BullWorker
}
