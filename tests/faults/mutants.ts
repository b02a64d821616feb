import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cloneProject } from '../support/clone.ts'
import type { Scope } from '../support/scope.ts'
import { FAULTS } from './all.ts'
import { runFault } from './run.ts'
import type { Run } from './run.ts'
import { RunScope } from './scope.ts'

/** One replacement in one file of the project; `times` is how often the text stands there. Default 1. */
interface Patch {
  readonly file: string
  readonly from: string
  readonly to: string
  readonly times?: number
}

/** What must go red: an invariant by its name, or a figure above what no sound build reaches in that fault. */
type Red = { readonly invariant: string } | { readonly figure: 'silenceMs'; readonly above: number }

/** A build without one of its safeguards, and what of the suite sees it. */
export interface SuiteMutant {
  readonly name: string
  /** What is taken out, and what then goes wrong. */
  readonly why: string
  readonly patches: readonly Patch[]
  readonly fault: string
  readonly seed: number
  readonly red: Red
  /** Runs at most, each with the seed after the one before, where it is a race whether the fault meets the safeguard. Default 1. */
  readonly tries?: number
  /** Left to the long form of the tests. */
  readonly isLong?: true
}

/** What a mutant has lost never comes; that it is not merely late is certain after some passes and looks of others. */
const STUCK_MS = 10_000

const INBOX = 'sql/queries/inbox.sql'
const WATERMARK = 'sql/queries/watermark.sql'
const OWNER = 'm.claim = o.claim AND m.locked_by = o.owner AND m.status = o.status'
/** Whether or not the row counts its claim yet. */
const ATTEMPTS = 'm.attempts + (m.locked_at IS NULL)::integer'
/** Statements that write for a claim: begun, done, failed, give_back. */
const OUTCOMES = 4
/** A parameter that is not compared any more must keep its type. */
const UNFENCED = '$2::uuid IS NOT NULL AND $3::bigint IS NOT NULL AND $4::bigint IS NOT NULL'

export const SUITE_MUTANTS: readonly SuiteMutant[] = [
  {
    name: 'no_fence',
    why: 'begin and page compare neither holder nor term nor pass: a leader that was frozen goes on writing under another’s term',
    patches: [
      {
        file: WATERMARK,
        from: 'w.holder = $2::uuid AND w.term = $3::bigint AND w.pass = $4::bigint',
        to: UNFENCED,
        times: 3,
      },
    ],
    fault: 'frozen_in_mid_pass',
    seed: 1,
    red: { invariant: 'watermarks_are_their_leaders' },
    // What has woken may hear that another one leads before it writes its next page: three times in four it does not.
    tries: 5,
  },
  {
    name: 'no_closure_check',
    why: 'the edge moves past transactions that are alive: what they commit later is never read',
    patches: [
      {
        file: WATERMARK,
        from: 'NOT x.reset AND NOT (k.cand_vx && s.live) AS closed',
        to: 'NOT x.reset AS closed',
      },
    ],
    fault: 'late_commit',
    seed: 1,
    red: { invariant: 'every_row_is_in_the_inbox' },
    isLong: true,
  },
  {
    name: 'no_claim_guard',
    why: 'outcomes compare neither locked_by nor claim: that of an old claim ends the message while a new one’s handler runs',
    patches: [{ file: INBOX, from: OWNER, to: 'm.status = o.status', times: OUTCOMES }],
    fault: 'claimed_again_beside_itself',
    seed: 1,
    red: { invariant: 'no_outcome_during_a_later_run' },
  },
  {
    name: 'fenced_by_attempts',
    why: 'outcomes compare attempts in place of claim: a give-back restores them, so an old claim of the same instance fits again',
    patches: [
      {
        file: INBOX,
        from: 'm.group_key, m.claim, m.attempts',
        to: `m.group_key, ${ATTEMPTS} AS claim, m.attempts`,
        times: 2,
      },
      {
        file: INBOX,
        from: 'm.inbox_id = o.inbox_id AND m.claim = o.claim',
        to: `m.inbox_id = o.inbox_id AND ${ATTEMPTS} = o.claim`,
        times: 5,
      },
      // The same number again is taken for the same claim.
      { file: 'src/process/claims.ts', from: '.filter((one) => !calls.has(one))', to: '' },
      { file: INBOX, from: 'm.claim = $3::integer', to: `${ATTEMPTS} = $3::integer` },
    ],
    fault: 'claimed_again_beside_itself',
    seed: 1,
    red: { invariant: 'no_outcome_during_a_later_run' },
  },
  {
    name: 'no_give_back',
    why: 'a drain leaves what it aborted in work: others find it later as that of a dead process, which costs an attempt',
    patches: [
      {
        file: 'src/process/settle.ts',
        from: 'const state = await outcomes.giveBack(',
        to: "const state: Settled = reason === 'drain' ? 'not ours' : await outcomes.giveBack(",
      },
    ],
    fault: 'drain_cut_short',
    seed: 1,
    red: { invariant: 'no_attempt_is_burned' },
    isLong: true,
  },
  {
    name: 'no_sentinel',
    why: 'a free sentinel is no evidence: after the death of a leader everybody waits for its lease to run out',
    patches: [
      {
        file: 'src/leader/suspicion.ts',
        from: 'return now - earlier.at >= this.#lookMs * APART ? { holder, term } : undefined',
        to: 'return undefined',
      },
    ],
    fault: 'leader_killed',
    seed: 1,
    // A takeover is promised within 3 s, and a pass comes every second; a lease is 10 s.
    red: { figure: 'silenceMs', above: 6_500 },
  },
]

export interface Caught {
  readonly mutant: SuiteMutant
  readonly run: Run
  /** Whether what had to go red did. */
  readonly caught: boolean
  /** What was seen. */
  readonly seen: string
}

/** Builds the mutant, lets its fault happen to it, and looks at what must go red. */
export async function runMutant(mutant: SuiteMutant, seed = mutant.seed): Promise<Caught> {
  const fault = FAULTS.find(({ name }) => name === mutant.fault)
  if (fault === undefined) throw new Error(`there is no fault ${mutant.fault}`)
  const scope = new RunScope()
  try {
    const bin = build(scope, mutant)
    for (let at = seed; ; at += 1) {
      const run = await runFault(fault, at, { bin, stuckMs: STUCK_MS })
      const caught = { mutant, run, ...judged(mutant.red, run) }
      if (caught.caught || at + 1 >= seed + (mutant.tries ?? 1)) return caught
    }
  } finally {
    await scope.end()
  }
}

/** These mutants with their seeds, one after another. */
export async function runMutants(
  mutants: readonly SuiteMutant[],
  each: (caught: Caught) => void,
): Promise<Caught[]> {
  const all: Caught[] = []
  for (const mutant of mutants) {
    const caught = await runMutant(mutant)
    each(caught)
    all.push(caught)
  }
  return all
}

function judged(red: Red, run: Run): Pick<Caught, 'caught' | 'seen'> {
  if ('figure' in red) {
    const seen = run[red.figure]
    return { caught: seen > red.above, seen: `${red.figure} ${seen}, above ${red.above}` }
  }
  const broken = run.broken.find((text) => text.startsWith(`${red.invariant}:`))
  return { caught: broken !== undefined, seen: broken ?? (run.broken.join(' | ') || 'nothing is broken') }
}

/** A copy of the project with the mutant's patches; returns its program. A patch that does not fit throws. */
export function build(scope: Scope, { name, patches }: Pick<SuiteMutant, 'name' | 'patches'>): string {
  const folder = cloneProject(scope)
  for (const { file, from, to, times = 1 } of patches) {
    const path = join(folder, file)
    const parts = readFileSync(path, 'utf8').split(from)
    if (parts.length - 1 !== times)
      throw new Error(`${name}: ${file} has ${parts.length - 1} times, not ${times} times: ${from}`)
    writeFileSync(path, parts.join(to))
  }
  return join(folder, 'bin/tidemark.js')
}
