import Table from 'cli-table3'
import type { Verdict } from '../part.ts'
import { median } from '../report.ts'

/** From the spawn of a process until it works. */
export interface Started {
  readonly ms: number
  /** Of its main thread and all others; null where there is no /proc. */
  readonly cpuMs: number | null
}

export interface StartFigures {
  readonly contestant: string
  readonly median: number
  readonly min: number
  readonly max: number
  /** The median of its CPU, which other work on the machine changes less than it changes the time. */
  readonly cpuMs: number | null
}

export interface StartResult {
  readonly rounds: number
  readonly figures: readonly StartFigures[]
  readonly limit: {
    readonly of: string
    readonly ms: number
    readonly mostMs: number
    readonly reached: boolean
  }
}

export const EXISTING = 'Tidemark, to ready, on an existing schema'

/** To ready, on an existing schema. */
const MOST_MS = 1_000

export function startOf(times: ReadonlyMap<string, readonly Started[]>): StartResult {
  const figures = [...times].map(([contestant, all]): StartFigures => {
    const ms = all.map((started) => started.ms)
    const cpu = all.map((started) => started.cpuMs).filter((value) => value !== null)
    return {
      contestant,
      median: median(ms),
      min: Math.min(...ms),
      max: Math.max(...ms),
      cpuMs: cpu.length === 0 ? null : median(cpu),
    }
  })
  const ms = figures.find(({ contestant }) => contestant === EXISTING)?.median ?? Number.NaN
  return {
    rounds: Math.max(...[...times.values()].map(({ length }) => length)),
    figures,
    limit: { of: EXISTING, ms, mostMs: MOST_MS, reached: ms <= MOST_MS },
  }
}

export function startVerdicts({ limit: { of, ms, mostMs, reached } }: StartResult): Verdict[] {
  const line = `${reached ? 'reached' : 'MISSED'}: ${of}: ${ms.toFixed(0)} ms (at most ${mostMs} ms)`
  return [{ line, reached }]
}

/** The result as people read it. */
export function startText(result: StartResult): string {
  const table = new Table({
    head: ['ms', 'median', 'min', 'max', 'CPU'],
    colAligns: ['left', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  })
  for (const { contestant, median: middle, min, max, cpuMs } of result.figures)
    table.push([contestant, ...[middle, min, max].map((ms) => ms.toFixed(0)), cpuMs?.toFixed(0) ?? '–'])
  const verdicts = startVerdicts(result).map(({ line }) => `${line}\n`)
  return `\nstart: from the spawn of a process until it works, ${result.rounds} rounds\n${table.toString()}\n${verdicts.join('')}`
}
