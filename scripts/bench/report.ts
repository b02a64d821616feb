import Table from 'cli-table3'
import type { PartResult } from './contest.ts'
import type { Measured } from './meter.ts'
import type { Floor, Limit, Verdict } from './part.ts'

/** What one contestant reached, over its rounds. */
export interface Figures {
  readonly contestant: string
  /** Messages a second. */
  readonly median: number
  readonly min: number
  readonly max: number
  /** Its median over that of the part's standard. */
  readonly ratio: number
  readonly nodeCpuUs: number
  readonly serverCpuUs: number | null
  readonly walBytes: number | null
  readonly commits: number | null
  readonly updates: number | null
  readonly hotShare: number | null
  readonly settings?: string
  readonly guarantees?: string
}

export interface FloorResult extends Floor {
  readonly ratio: number
  readonly reached: boolean
}

export interface LimitResult extends Limit {
  readonly reached: boolean
}

export interface PartFigures {
  readonly part: string
  readonly title: string
  readonly messages: number
  readonly against: string
  readonly figures: readonly Figures[]
  readonly floors: readonly FloorResult[]
  readonly limits: readonly LimitResult[]
  readonly notes: readonly string[]
}

/** Medians, extremes and ratios of a part, and what was measured after it. */
export async function figuresOf({ part, heats }: PartResult): Promise<PartFigures> {
  const of = (name: string): readonly Measured[] => heats.get(name) ?? []
  const speed = (name: string): number => median(of(name).map(({ perSecond }) => perSecond))
  const figures = part.contestants.map(({ name, settings, guarantees }): Figures => {
    const heat = of(name)
    const middle = (figure: 'serverCpuUs' | 'walBytes' | 'commits' | 'updates' | 'hotShare'): number | null =>
      medianOrNull(heat.map((measured) => measured[figure]))
    const speeds = heat.map(({ perSecond }) => perSecond)
    return {
      contestant: name,
      median: speed(name),
      min: Math.min(...speeds),
      max: Math.max(...speeds),
      ratio: speed(name) / speed(part.against),
      nodeCpuUs: median(heat.map(({ nodeCpuUs }) => nodeCpuUs)),
      serverCpuUs: middle('serverCpuUs'),
      walBytes: middle('walBytes'),
      commits: middle('commits'),
      updates: middle('updates'),
      hotShare: middle('hotShare'),
      ...(settings === undefined ? {} : { settings }),
      ...(guarantees === undefined ? {} : { guarantees }),
    }
  })
  const floors = part.floors
    .filter(({ of: name, against }) => heats.has(name) && heats.has(against))
    .map((floor): FloorResult => {
      const ratio = speed(floor.of) / speed(floor.against)
      return { ...floor, ratio, reached: ratio >= floor.least }
    })
  const measured = (await part.limits?.(speed)) ?? []
  const limits = measured.map(limitOf)
  const { name, title, messages, against, notes = [] } = part
  return { part: name, title, messages, against, figures, floors, limits, notes }
}

/** The middle one; between the middle two, when they are even in number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const upper = sorted[Math.floor(middle)] ?? Number.NaN
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? Number.NaN) + upper) / 2 : upper
}

function medianOrNull(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? null : median(known)
}

/** The part as people read it. */
export function tableOf(part: PartFigures): string {
  const table = new Table({
    head: [
      '',
      'messages/s',
      'min',
      'max',
      'ratio',
      'node µs',
      'server µs',
      'WAL B',
      'commits',
      'updates',
      'HOT',
    ],
    colAligns: ['left', ...Array.from({ length: 10 }, () => 'right' as const)],
    style: { head: [], border: [], compact: true },
  })
  for (const row of part.figures) {
    table.push([
      row.contestant,
      whole(row.median),
      whole(row.min),
      whole(row.max),
      row.ratio.toFixed(2),
      row.nodeCpuUs.toFixed(1),
      row.serverCpuUs?.toFixed(1) ?? '–',
      row.walBytes === null ? '–' : whole(row.walBytes),
      row.commits?.toFixed(row.commits < 0.1 ? 4 : 2) ?? '–',
      row.updates?.toFixed(2) ?? '–',
      row.hotShare === null ? '–' : `${Math.round(row.hotShare * 100)} %`,
    ])
  }
  const told = Map.groupBy(
    part.figures.filter(({ settings }) => settings !== undefined),
    ({ settings, guarantees }) => `  settings: ${settings ?? '–'}\n  guarantees: ${guarantees ?? '–'}`,
  )
  const lines = [
    ...[...told].map(
      ([text, figures]) => `${figures.map(({ contestant }) => contestant).join('; ')}\n${text}`,
    ),
    ...part.notes,
    ...verdictsOf(part).map(({ line }) => line),
  ]
  return [
    '',
    `${part.part}: ${part.title}, ${whole(part.messages)} messages`,
    table.toString(),
    ...lines,
    '',
  ].join('\n')
}

/** Floors and limits as sentences. */
export function verdictsOf({ floors, limits }: PartFigures): Verdict[] {
  return [
    ...floors.map((floor) => ({ line: floorLine(floor), reached: floor.reached })),
    ...limits.map(verdictOf),
  ]
}

export function limitOf(limit: Limit): LimitResult {
  return { ...limit, reached: limit.value <= limit.most }
}

export function verdictOf(limit: LimitResult): Verdict {
  return { line: limitLine(limit), reached: limit.reached }
}

function floorLine({ of, against, least, ratio, reached }: FloorResult): string {
  return `${reached ? 'reached' : 'MISSED'}: ${of} ${ratio.toFixed(2)} × ${against} (at least ${least})`
}

function limitLine({ of, value, unit, most, reached }: LimitResult): string {
  return `${reached ? 'reached' : 'MISSED'}: ${of}: ${value.toFixed(1)} ${unit} (at most ${most} ${unit})`
}

export function whole(value: number): string {
  return Math.round(value).toLocaleString('en')
}
