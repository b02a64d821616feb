/** Exit codes of every verb, as CONTRACT and `sysexits.h` have them. */
export const EXIT = {
  done: 0,
  failed: 1,
  /** `verify`: some invariants could not be checked. */
  incomplete: 2,
  /** EX_USAGE: an unknown verb or flag. */
  usage: 64,
  /** EX_TEMPFAIL: a lock that a migration needs was not got in time; try again. */
  tryAgain: 75,
  /** EX_CONFIG: a setting or config that cannot be used. */
  config: 78,
} as const

/** What a shell shows for a program that a signal ended: 128 + its number. */
export const EXIT_BY_SIGNAL = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

export type ShutdownSignal = keyof typeof EXIT_BY_SIGNAL
