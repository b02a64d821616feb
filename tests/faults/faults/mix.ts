import type { Fault } from '../fault.ts'
import { DEPLOYS } from './deploys.ts'
import { FORCED } from './forced.ts'
import { HANDLERS } from './handlers.ts'
import { KILLS_OF_LEADERS } from './kills.ts'
import { LIMITS } from './limits.ts'
import { SOURCES } from './sources.ts'

/** Faults that ask nothing of the stage but what the mix has itself, and that may follow one another on it. */
const BLOWS: readonly Fault[] = [
  ...DEPLOYS,
  ...KILLS_OF_LEADERS,
  ...FORCED,
  ...HANDLERS,
  ...LIMITS,
  ...SOURCES,
].filter(
  ({ isLong, ownServer, way, limits, env, prepare, without }) =>
    isLong !== true &&
    ownServer === undefined &&
    way === undefined &&
    limits === undefined &&
    env === undefined &&
    prepare === undefined &&
    without === undefined,
)

export const MIX: readonly Fault[] = [
  {
    name: 'random_mix',
    title: 'Four to six of the short faults after one another, as the seed draws them',
    isLong: true,
    seeds: 20,
    mayRunAgain: 'some of them kill processes with handlers at work',
    mayBurn: 'the same',
    async happen(stage, random) {
      const { machines } = stage
      const count = machines.living.length
      for (let i = random.between(4, 6); i > 0; i -= 1) {
        await random.pick(BLOWS)?.happen(stage, random)
        // Some leave fewer behind than they found.
        while (machines.living.length < count) await machines.start()
      }
    },
  },
]
