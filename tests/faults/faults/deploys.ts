import type { Fault } from '../fault.ts'

/** Both colours run this long side by side: enough for every loop to turn twice. */
const OVERLAP_EFFECTS = 60

export const DEPLOYS: readonly Fault[] = [
  {
    name: 'rolling_sigterm',
    inShortForm: true,
    title: 'Each instance in turn is replaced: SIGTERM, and a new one beside it',
    async happen({ machines, flows }) {
      for (const old of machines.living) {
        await machines.start({ release: 'green' })
        await machines.stop(old)
        await flows(20)
      }
    },
  },
  {
    name: 'blue_green',
    title: 'A blue-green deploy: all of green beside all of blue, then SIGTERM to blue',
    async happen({ machines, flows }) {
      const blue = machines.living
      await Promise.all(blue.map(() => machines.start({ release: 'green' })))
      await flows(OVERLAP_EFFECTS)
      await Promise.all(blue.map((one) => machines.stop(one)))
    },
  },
  {
    name: 'blue_green_aborted',
    inShortForm: true,
    title:
      'An aborted deploy: green is killed without a signal while it starts and once it works; blue goes on',
    mayRunAgain: 'a handler of green was at work when green was killed',
    mayBurn: 'the same',
    async happen({ machines, flows }, random) {
      const half = await machines.launch({ release: 'green' })
      const whole = await machines.start({ release: 'green' })
      await machines.crash(half)
      await flows(random.between(5, OVERLAP_EFFECTS))
      await machines.crash(whole)
      await flows(20)
    },
  },
]
