/** A pass that is due, and how that came to be known. */
export interface DuePass {
  readonly dueAt: Date
  /**
   * job: its pg-boss job came; backstop: it did not come in time; demand: somebody asked; loop: the leader's own clock;
   * wake: an insert was announced, or may have been.
   */
  readonly cause: 'job' | 'backstop' | 'demand' | 'loop' | 'wake'
  /** Not a pass: only what lies behind the greatest cursor is read, and a pass follows. Default: false. */
  readonly isTail?: boolean
  /** While a pass is made, asked between two of its pages: a tail that is to be read before the next one. */
  tail?(): DuePass | undefined
  /** Due times after this one that had gone by when the pass began. */
  readonly missed?: number
  /** Due times that have gone by since it began. */
  coalesced?(): number
  /**
   * Records the end of the pass, with the rows that it took in, and sees to the next one. `rereadMs`: what its pages took of
   * rows that were nearly all known. `full`: a tail that brought as many rows as one may. `held`: paused, none was made.
   */
  done(result: {
    ok: boolean
    inserted?: number
    full?: boolean
    rereadMs?: number
    held?: boolean
  }): Promise<void>
}

/** What wakes a leader for its next pass; given to the poller by the runner. */
export interface Tick {
  /** Waits until a pass is due. Undefined: the signal aborted. */
  next(signal: AbortSignal): Promise<DuePass | undefined>
}
