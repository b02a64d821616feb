import { Random } from '../properties/random.ts'
import { until } from '../support/until.ts'
import type { Fault } from './fault.ts'
import { judge } from './judge.ts'
import type { Verdict } from './judge.ts'
import { RunScope } from './scope.ts'
import { PROGRAMS } from './program.ts'
import type { ProgramName } from './program.ts'
import { setStage, startMachines } from './stage.ts'
import type { Stage } from './stage.ts'
import { watch } from './watch.ts'

export interface RunOptions {
  /** Another build to run. Default: this checkout. */
  readonly bin?: string
  /** Default: tidemark. */
  readonly program?: ProgramName
  /** Without a single message finished for so long, what is open stays open, and is judged so. Default: the program's. */
  readonly stuckMs?: number
}

export interface Run extends Verdict {
  readonly program: ProgramName
  readonly fault: string
  readonly seed: number
  readonly tookMs: number
}

/** Work has begun when so many effects are there. */
const UNDER_WAY = 30

/**
 * One run of one fault. Throws only when the stage itself could not be set or the fault could not happen; whatever the
 * system under test did wrong is in the verdict.
 */
export async function runFault(fault: Fault, seed: number, options: RunOptions = {}): Promise<Run> {
  const startedAt = performance.now()
  const scope = new RunScope()
  let verdict: Verdict | undefined
  let failure: unknown
  try {
    const stage = await setStage(scope, fault, seed, {
      ...(options.bin === undefined ? {} : { bin: options.bin }),
      program: PROGRAMS[options.program ?? 'tidemark'],
    })
    verdict = await play(stage, fault, seed, options)
  } catch (error) {
    failure = error
  }
  const left = await scope.end()
  if (verdict === undefined) throw failure
  const broken = [...verdict.broken, ...left.map((error) => `left behind: ${String(error)}`)]
  return {
    ...verdict,
    broken,
    program: options.program ?? 'tidemark',
    fault: fault.name,
    seed,
    tookMs: Math.round(performance.now() - startedAt),
  }
}

async function play(stage: Stage, fault: Fault, seed: number, options: RunOptions): Promise<Verdict> {
  const { machines, pool, program } = stage
  const broken: string[] = []
  await fault.prepare?.(stage)
  await startMachines(stage, fault.instances ?? 3)
  const unwatch = watch(pool, { belowTheEdge: fault.without?.['what_was_found_meanwhile'] === undefined })
  const writers = stage.write()
  try {
    await stage.flows(UNDER_WAY)
    await fault.happen(stage, new Random(seed))
    await stage
      .freshRowsArePassed()
      .catch((error: unknown) => broken.push(`after the fault: ${String(error)}`))
  } finally {
    await writers.stop()
  }
  await settled(stage, options.stuckMs ?? program.stuckMs)
  broken.push(...(await unwatch()))
  const leaving = machines.living
  for (const one of leaving) one.kill('SIGTERM')
  for (const one of leaving) {
    const { code } = await machines.left(one)
    if (code !== 0) broken.push(`${one.id} left with ${code}`)
  }
  const verdict = await judge(stage, fault)
  return { ...verdict, broken: [...broken, ...verdict.broken] }
}

/** Waits until every row has its end, for as long as there is progress. */
async function settled({ number, program }: Stage, stuckMs: number): Promise<void> {
  const open = (): Promise<number> => number(program.open)
  let least = Infinity
  let movedAt = performance.now()
  await until(
    'every row to have its end',
    async () => {
      const now = await open().catch(() => undefined)
      if (now === undefined) return false
      if (now < least) {
        least = now
        movedAt = performance.now()
      }
      return now === 0 || performance.now() - movedAt > stuckMs
    },
    600_000,
  )
}
