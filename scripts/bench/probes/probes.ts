import { readFileSync, statSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { countStatements, LINE_PREFIX } from '../idle/count.ts'
import { openBed } from '../line/bed.ts'
import type { LineBed } from '../line/bed.ts'
import type { BenchPart, Outcome } from '../part.ts'
import { limitOf, median, verdictOf, whole } from '../report.ts'
import type { LimitResult } from '../report.ts'
import type { BenchServer } from '../server.ts'
import { during } from './load.ts'
import type { Answers } from './load.ts'

/*
 * What it costs to be watched: `/health`, `/ready` and `/metrics` asked in turn, at 200 requests a second beside as much work as the
 * instance can do, and at 2,000 a second beside steady work, which must go on as if nobody asked: nothing lost, the same leader, and
 * no more than one look at the database a second. Looks are counted in the server's log.
 */

const ORDINARY_RATE = 200
const FLOOD_RATE = 2_000
const STEADY_ROWS_A_SECOND = 100
const SLOWER_MOST_PERCENT = 5
/** Times `rows`, in a round: longer than the metrics' numbers stand, so that a round reads them as often as life does. */
const ROUND_ROWS = 4
/** Of what is asked in a flood, the share that may not be answered within it. */
const SHORT_MOST_PERCENT = 5
/** One a second, and the signs of life of the connections that hold a lock or listen, one each ten seconds. */
const LOOKS_MOST = 1.4
const ANSWER_MOST_MS = 2_000

export interface ProbesPlan {
  readonly rows: number
  readonly rounds: number
  readonly seconds: number
}

export interface Watched {
  readonly rate: number
  readonly answers: Answers
  readonly looksPerSecond: number
  readonly metricsReadsPerSecond: number
}

export interface ProbesFigures {
  /** Messages a second with nobody asking, and with somebody, round by round. */
  readonly quiet: readonly number[]
  readonly asked: readonly number[]
  readonly watched: readonly Watched[]
  readonly rows: number
  readonly changesOfLeader: number
  readonly limits: readonly LimitResult[]
}

export const probes: BenchPart = {
  name: 'probes',
  about: 'what /health, /ready and /metrics cost at 200 and at 2,000 requests a second',
  async run(server, { rows, rounds, quick }, tell) {
    return measureProbes(server, { rows, rounds, seconds: quick ? 5 : 10 }, tell)
  },
}

export async function measureProbes(
  server: BenchServer,
  { rows, rounds, seconds }: ProbesPlan,
  tell: (what: string) => void,
): Promise<Outcome & { readonly json: ProbesFigures }> {
  const bed = await openBed(server, { prefilled: rows })
  try {
    const termsBefore = await terms(server)
    const quiet: number[] = []
    const asked: number[] = []
    const alone = async (round: number): Promise<void> => {
      tell(`probes: round ${round} of ${rounds}: nobody asks`)
      await bed.settle()
      quiet.push(await bed.stream(ROUND_ROWS * rows))
    }
    const watchedOver = async (round: number): Promise<void> => {
      tell(`probes: round ${round} of ${rounds}: ${ORDINARY_RATE} requests a second`)
      await bed.settle()
      const { result } = await during(bed.address, ORDINARY_RATE, 0, () => bed.stream(ROUND_ROWS * rows))
      asked.push(result)
    }
    // In turns which of them is first: the tables are fuller for the second, each time.
    for (let round = 1; round <= rounds; round += 1)
      for (const half of round % 2 === 1 ? [alone, watchedOver] : [watchedOver, alone]) await half(round)
    const watched: Watched[] = []
    for (const rate of [ORDINARY_RATE, FLOOD_RATE]) {
      tell(`probes: ${rate} requests a second beside steady work`)
      await bed.settle()
      watched.push(await watch(server, bed, rate, seconds))
    }
    const figures = {
      quiet,
      asked,
      watched,
      rows: await bed.check(),
      changesOfLeader: (await terms(server)) - termsBefore,
    }
    const limits = limitsOf(figures)
    const verdicts = limits.map(verdictOf)
    return {
      json: { ...figures, limits },
      text: textOf(
        figures,
        verdicts.map(({ line }) => line),
      ),
      verdicts,
    }
  } finally {
    await bed.close()
  }
}

async function watch(server: BenchServer, bed: LineBed, rate: number, seconds: number): Promise<Watched> {
  const { size } = statSync(server.logFile)
  const log = async (level: 'all' | 'none'): Promise<void> => {
    await server.query(`ALTER SYSTEM SET log_statement = '${level}'`)
    await server.query(`ALTER SYSTEM SET log_line_prefix = '${level === 'all' ? LINE_PREFIX : '%m [%p] '}'`)
    await server.query('SELECT pg_reload_conf()')
    await pause(LOG_SETTLES_MS)
  }
  await log('all')
  const startedAt = performance.now()
  const { answers } = await during(bed.address, rate, seconds, () => bed.step(STEADY_ROWS_A_SECOND, seconds))
  const took = (performance.now() - startedAt) / 1000
  await log('none')
  const { lines } = countStatements(readFileSync(server.logFile).subarray(size).toString())
  const perSecond = (what: string): number => (lines.find((line) => line.what === what)?.count ?? 0) / took
  return {
    rate,
    answers,
    looksPerSecond: perSecond('SELECT 1 AS alive'),
    metricsReadsPerSecond: perSecond('metrics.numbers'),
  }
}

/** For the server to read its settings, and for the last lines to be written. */
const LOG_SETTLES_MS = 300

async function terms(server: BenchServer): Promise<number> {
  const [found] = await server.query<{ terms: number }>(
    'SELECT coalesce(sum(term), 0)::integer AS terms FROM service_ops.leader_term',
  )
  return found?.terms ?? 0
}

type Measured = Omit<ProbesFigures, 'limits'>

/** Of the two lists of rounds, how much slower the second is, in percent of the first. */
export function slowerPercent(quiet: readonly number[], asked: readonly number[]): number {
  return 100 * (1 - median(asked) / median(quiet))
}

function limitsOf({ quiet, asked, watched, changesOfLeader }: Measured): LimitResult[] {
  return [
    limitOf({
      of: `at ${ORDINARY_RATE} requests a second the work is slower by`,
      value: slowerPercent(quiet, asked),
      unit: '%',
      most: SLOWER_MOST_PERCENT,
    }),
    ...watched.flatMap(({ rate, answers, looksPerSecond }) => [
      limitOf({
        of: `looks at the database, at ${rate} requests a second`,
        value: looksPerSecond,
        unit: '/s',
        most: LOOKS_MOST,
      }),
      limitOf({
        of: `of ${rate} requests a second, those without an answer in the same time`,
        value: 100 * (1 - answers.perSecond / rate),
        unit: '%',
        most: SHORT_MOST_PERCENT,
      }),
      limitOf({ of: `requests of ${rate} a second that failed`, value: answers.failed, unit: '', most: 0 }),
      limitOf({
        of: `the slowest answer of ${rate} a second`,
        value: answers.slowestMs,
        unit: 'ms',
        most: ANSWER_MOST_MS,
      }),
    ]),
    limitOf({ of: 'changes of the leader', value: changesOfLeader, unit: '', most: 0 }),
  ]
}

function textOf({ quiet, asked, watched, rows }: Measured, verdicts: readonly string[]): string {
  const lines = [
    `nobody asks: ${quiet.map(whole).join(', ')} messages a second`,
    `${ORDINARY_RATE} requests a second: ${asked.map(whole).join(', ')} messages a second`,
    ...watched.map(
      ({ rate, answers, looksPerSecond, metricsReadsPerSecond }) =>
        `asked ${whole(rate)} times a second (${whole(answers.askedPerSecond)} were sent): ${whole(answers.perSecond)} answers a second, ` +
        `p99 ${answers.p99Ms.toFixed(1)} ms, the slowest ${answers.slowestMs.toFixed(0)} ms; ` +
        `${looksPerSecond.toFixed(2)} looks and ${metricsReadsPerSecond.toFixed(2)} readings of the metrics a second`,
    ),
    `${whole(rows)} rows, each done once`,
  ]
  return `\nprobes: what it costs to be watched\n${[...lines, ...verdicts].join('\n')}\n`
}
