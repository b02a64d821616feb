import Table from 'cli-table3'
import type { BenchPart } from '../part.ts'
import { BOSS } from './boss.ts'
import { GRAPHILE } from './graphile.ts'
import { race } from './race.ts'
import type { Times } from './race.ts'
import { INTAKE, SEND, SOURCE } from './tidemark.ts'

/** What one way took, in milliseconds. */
export interface LatencyFigures {
  readonly way: string
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
  /** From before it is added until whoever adds has the answer, and from there to the handler: below 0 it was quicker. */
  readonly answerP50: number
  readonly afterAnswerP50: number
  readonly afterAnswerP99: number
}

/** A percentile that must not be above another's in the same run. */
export interface LatencyFloor {
  readonly of: string
  readonly against: string
  readonly at: 'p50' | 'p99'
  readonly ms: number
  readonly mostMs: number
  readonly reached: boolean
}

export interface LatencyResult {
  readonly title: string
  readonly turns: number
  readonly figures: readonly LatencyFigures[]
  readonly floors: readonly LatencyFloor[]
}

/** Each of our ways in against each of these. */
const FLOORS: readonly (readonly [of: string, against: string])[] = [
  [SOURCE, GRAPHILE],
  [INTAKE, GRAPHILE],
  [SEND, GRAPHILE],
  [SEND, BOSS],
]

const TURNS = { most: 500, quick: 100, share: 20 }

export const latency: BenchPart = {
  name: 'latency',
  about: 'how soon a handler starts, idle, one at a time, by each of the three ways in, beside others',
  async run(server, { rows, quick }, tell) {
    const turns = Math.min(Math.ceil(rows / TURNS.share), quick ? TURNS.quick : TURNS.most)
    const result = latencyOf(await race(server, turns, tell), turns)
    const verdicts = result.floors.map((floor) => ({ line: floorLine(floor), reached: floor.reached }))
    return { json: result, text: latencyText(result), verdicts }
  },
}

export function latencyOf(times: ReadonlyMap<string, Times>, turns: number): LatencyResult {
  const figures = [...times].map(([way, { toHandlerMs, toAnswerMs }]): LatencyFigures => {
    const after = toHandlerMs.map((ms, i) => ms - (toAnswerMs[i] ?? Number.NaN))
    return {
      way,
      p50: percentile(toHandlerMs, 0.5),
      p95: percentile(toHandlerMs, 0.95),
      p99: percentile(toHandlerMs, 0.99),
      max: Math.max(...toHandlerMs),
      answerP50: percentile(toAnswerMs, 0.5),
      afterAnswerP50: percentile(after, 0.5),
      afterAnswerP99: percentile(after, 0.99),
    }
  })
  const floors = FLOORS.flatMap(([of, against]) =>
    (['p50', 'p99'] as const).map((at): LatencyFloor => {
      const value = (way: string): number => figures.find((row) => row.way === way)?.[at] ?? Number.NaN
      return { of, against, at, ms: value(of), mostMs: value(against), reached: value(of) <= value(against) }
    }),
  )
  return {
    title: 'idle, one at a time, from before the statement that adds to the first line of the handler',
    turns,
    figures,
    floors,
  }
}

/** The least value that is not exceeded by this share of them. */
export function percentile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share) - 1)] ?? Number.NaN
}

/** The result as people read it. */
export function latencyText({ title, turns, figures, floors }: LatencyResult): string {
  const table = new Table({
    head: ['ms', 'p50', 'p95', 'p99', 'max', 'answer p50', 'after it p50', 'p99'],
    colAligns: ['left', ...Array.from({ length: 7 }, () => 'right' as const)],
    style: { head: [], border: [], compact: true },
  })
  for (const { way, p50, p95, p99, max, answerP50, afterAnswerP50, afterAnswerP99 } of figures) {
    const values = [p50, p95, p99, max, answerP50, afterAnswerP50, afterAnswerP99]
    table.push([way, ...values.map((ms) => ms.toFixed(1))])
  }
  const beyond = turns - Math.ceil(turns * 0.99)
  const lines = floors.map((floor) => `${floorLine(floor)}\n`).join('')
  return `\nlatency: ${title}, ${turns} turns (${beyond} beyond p99)\n${table.toString()}\n${lines}`
}

/** One floor as a sentence. */
function floorLine({ of, against, at, ms, mostMs, reached }: LatencyFloor): string {
  return `${reached ? 'reached' : 'MISSED'}: ${of}, ${at} ${ms.toFixed(1)} ms (at most ${mostMs.toFixed(1)}, of ${against})`
}
