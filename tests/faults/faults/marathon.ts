import type { Fault } from '../fault.ts'

/** Both colours run side by side until so many more effects are there: a second, where Fly.io takes twenty. */
const OVERLAP_EFFECTS = 100
const DEPLOYS = 100

/** What takes minutes, once. */
export const MARATHON: readonly Fault[] = [
  {
    name: 'hundred_deploys',
    title: 'A hundred blue-green deploys in a row at 200 messages a second; no silence of a poller over 2 s',
    isLong: true,
    seeds: 1,
    instances: 2,
    habits: { rate: 200 },
    silenceMs: 2_000,
    async happen({ machines, flows }) {
      for (let deploy = 1; deploy <= DEPLOYS; deploy += 1) {
        const blue = machines.living
        await Promise.all(blue.map(() => machines.start({ release: `deploy-${deploy}` })))
        await flows(OVERLAP_EFFECTS)
        await Promise.all(blue.map((one) => machines.stop(one)))
      }
    },
  },
]
