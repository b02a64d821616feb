import { until } from '../../support/until.ts'
import type { Fault } from '../fault.ts'

const OTHER = { every: '2s', pageSize: 7, retention: '3d', concurrency: 2, maxAttempts: 12, timeout: '30s' }

export const CONFIGS: readonly Fault[] = [
  {
    name: 'other_config',
    title:
      'Green has another interval, page size, retention and concurrency, and lacks a poller; then a rollback',
    async happen({ machines, flows }) {
      const blue = machines.living
      const limits = { ...OTHER, leaveOut: 'calls' } as const
      const green = await Promise.all(blue.map(() => machines.start({ release: 'green', limits })))
      await flows(60)
      await Promise.all(blue.map((one) => machines.stop(one)))
      await flows(40)
      if ((await machines.leader('calls')) !== undefined)
        throw new Error('calls has a leader that does not know of it')
      // Its rows wait meanwhile, and nobody calls that a fault.
      await machines.start()
      await until('calls to be led again', () => machines.leader('calls'))
      await flows(40)
      const [first] = green
      if (first !== undefined) await machines.stop(first)
      await flows(40)
    },
  },
]
