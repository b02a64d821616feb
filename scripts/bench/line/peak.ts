import type { LineBed, Step } from './bed.ts'

/** What comes in so many seconds may be open at any time: less than that is no backlog. */
const NO_BACKLOG_S = 0.1
/** Open messages in the last quarter of a step, over those in the first, when the line keeps up. */
export const GROWTH_MOST = 1.5
/** Writers that are further behind their rate were held up themselves. */
export const BEHIND_MOST_PERCENT = 2

/** Between the highest rate that could be held and this part of it lies the one that can. */
const RANGE = 32

/** How often the range is halved: so few rows as in a short form say nothing that is worth more. */
export function triesOf(rows: number, quick: boolean): number {
  if (rows < 1_000) return 2
  return quick ? 5 : 7
}

/** How much the backlog grew during a step. */
export function growthOf({
  openFirst,
  openLast,
  rate,
}: Pick<Step, 'openFirst' | 'openLast' | 'rate'>): number {
  return openLast / Math.max(openFirst, rate * NO_BACKLOG_S)
}

/** The line kept up with a writer that kept to its schedule. */
export function isHeld(step: Pick<Step, 'openFirst' | 'openLast' | 'rate' | 'written'>): boolean {
  return growthOf(step) <= GROWTH_MOST && step.written >= step.rate * (1 - BEHIND_MOST_PERCENT / 100)
}

export interface Try {
  readonly rate: number
  readonly isHeld: boolean
  readonly growth: number
}

export interface Peak {
  /** The highest rate tried at which the backlog does not grow. */
  readonly rate: number
  readonly tries: readonly Try[]
}

/**
 * The highest steady rate that the line holds, by halving the range (as a ratio) between `highest` and a small part of it.
 * @param highest rate that is beyond it, or just within
 */
export async function findPeak(
  bed: Pick<LineBed, 'settle' | 'step'>,
  highest: number,
  options: { readonly tries: number; readonly seconds: number; readonly onTry: (rate: number) => void },
): Promise<Peak> {
  let held = highest / RANGE
  let beyond = highest
  const tries: Try[] = []
  const attempt = async (rate: number): Promise<boolean> => {
    options.onTry(rate)
    await bed.settle()
    const step = await bed.step(rate, options.seconds)
    tries.push({ rate, isHeld: isHeld(step), growth: growthOf(step) })
    return isHeld(step)
  }
  for (let n = 0; n < options.tries; n += 1) {
    const rate = Math.sqrt(held * beyond)
    if (await attempt(rate)) held = rate
    else beyond = rate
  }
  // Nothing was held yet: how low must it be?
  for (let n = 0; !tries.some((one) => one.isHeld); n += 1) {
    if (n === options.tries) throw new Error(`the line does not even hold ${held.toFixed(1)} rows a second`)
    if (!(await attempt(held))) held /= 2
  }
  return { rate: held, tries }
}
