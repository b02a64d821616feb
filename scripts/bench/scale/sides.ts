import Table from 'cli-table3'
import type { LineBed, Step } from '../line/bed.ts'
import { median, whole } from '../report.ts'
import { scaleSql } from './statements.ts'

/** A line in a database of its own, with what is to be compared about it. */
export interface Side {
  readonly name: string
  readonly bed: LineBed
}

/** Medians of a side's steps. */
export interface SideFigures {
  readonly side: string
  readonly steps: readonly Step[]
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  /** How far the proven edge is behind now, in seconds. */
  readonly edgeLagS: number
  readonly instanceCpuUs: number | null
}

const LOOK_MS = 250

/** The same steady load on each in turn, A B A B; the one whose turn it is not has nothing to do. */
export async function inTurn(
  sides: readonly Side[],
  plan: { readonly rate: number; readonly seconds: number; readonly rounds: number },
  tell: (what: string) => void,
): Promise<SideFigures[]> {
  const steps = new Map<string, Step[]>(sides.map(({ name }) => [name, []]))
  const lags = new Map<string, number[]>(sides.map(({ name }) => [name, []]))
  for (let round = 1; round <= plan.rounds; round += 1)
    for (const { name, bed } of sides) {
      tell(`round ${round} of ${plan.rounds}: ${name}`)
      const watch = setInterval(() => {
        edgeOf(bed, '-infinity').then(
          ({ lagS }) => lags.get(name)?.push(lagS),
          // It is asked again, and the step itself fails when the server is gone.
          () => undefined,
        )
      }, LOOK_MS)
      const step = await bed.step(plan.rate, plan.seconds).finally(() => clearInterval(watch))
      steps.get(name)?.push(step)
    }
  return sides.map(({ name }) => {
    const own = steps.get(name) ?? []
    const of = (value: (step: Step) => number): number => median(own.map(value))
    const cpu = own.map(({ instanceCpuUs }) => instanceCpuUs).filter((us) => us !== null)
    return {
      side: name,
      steps: own,
      perSecond: of((step) => step.perSecond),
      p50Ms: of((step) => step.p50Ms),
      p99Ms: of((step) => step.p99Ms),
      maxMs: of((step) => step.maxMs),
      edgeLagS: median(lags.get(name) ?? []),
      instanceCpuUs: cpu.length === 0 ? null : median(cpu),
    }
  })
}

/** How far the proven edge is behind now, and whether it is past a time. */
export async function edgeOf({ server }: LineBed, time: string): Promise<{ lagS: number; past: boolean }> {
  const [edge] = await server.query<{ lagS: number; past: boolean }>(scaleSql('edge'), ['bench_line', time])
  if (edge === undefined) throw new Error('the poller of the bench has no edge')
  return edge
}

export function sidesText(figures: readonly SideFigures[]): string {
  const head = ['', 'done/s', 'p50 ms', 'p99 ms', 'max ms', 'edge behind, s', 'node µs']
  const table = new Table({
    head,
    colAligns: head.map((_, n) => (n === 0 ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  })
  for (const one of figures)
    table.push([
      one.side,
      whole(one.perSecond),
      one.p50Ms.toFixed(1),
      one.p99Ms.toFixed(1),
      one.maxMs.toFixed(1),
      one.edgeLagS.toFixed(1),
      one.instanceCpuUs?.toFixed(0) ?? '–',
    ])
  return table.toString()
}
