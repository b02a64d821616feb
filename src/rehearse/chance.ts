/** Choices that a seed repeats. */
export interface Chance {
  /** A whole number from 0 to below. */
  below(limit: number): number
  /** True once in so many times. */
  oneIn(times: number): boolean
  pick<T>(from: readonly T[]): T | undefined
  /** From 0 to below 1. */
  fraction(): number
}

/** mulberry32: 32 bits of state are enough to choose a victim. */
export function createChance(seed: number): Chance {
  let state = seed >>> 0
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number): number => Math.floor(fraction() * limit)
  return { fraction, below, oneIn: (times) => below(times) === 0, pick: (from) => from[below(from.length)] }
}
