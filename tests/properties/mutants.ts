import { replacing, replacingAll } from './strategy.ts'
import type { Strategy } from './strategy.ts'

/** A way of reading that loses rows (or stands still), and why; the tests must catch it. */
export interface Mutant extends Strategy {
  readonly why: string
  /** A seed that is known to catch it, tried first; schedules that change find another. */
  readonly seed?: number
}

const SCAN_START = "scan_ts = least(w.edge, c.scan_from) - interval '1 microsecond',\n       scan_id = NULL,"
/** The position of the last row ever read, in place of the edge. */
const FROM_LAST_ROW =
  "scan_ts = coalesce(w.last_created_at, '-infinity', now() - $6::interval), scan_id = w.last_message_id,"
const PAGE_WHERE = 'AND true\n   ORDER BY tidemark_source'
const BEGIN_GUARD = 'AND w.pass = $4::bigint FOR UPDATE'
const PAGE_GUARD = 'AND w.pass = $4::bigint AND w.scan_ts IS NOT NULL FOR UPDATE'
const CLOSED = 'NOT (k.cand_vx && s.live) AS closed'
const SINCE_STEP =
  'CASE WHEN k.scan_from IS NULL OR me.scan_ts IS NOT NULL THEN k.scan_from ELSE greatest(k.scan_from, me.proven) END'
const PREPARED = "OR (l.pid IS NULL AND l.locktype = 'transactionid'"
const FLOOR_OF_CANDIDATE = 'least(now(), c.floor)'
const FLOOR_OF_PROOF = 'least(c.cand_ts, c.floor, now())'

const WINDOW = 'CASE WHEN whole.it_is THEN w.scan_snapshot END ELSE'

/** Left out of a statement, a parameter would have no type: it is compared with itself, or stands where it never counts. */
const unguarded = (guard: string): readonly [string, string] => [
  guard,
  guard.replace('w.pass = $4::bigint', '$4::bigint = $4::bigint'),
]

/** Caught by the random schedules. */
export const RANDOM_MUTANTS = {
  naive_cursor: {
    why: 'reads on from the last row: one that began earlier and commits later lies behind it',
    seed: 1,
    begin: replacing([SCAN_START, FROM_LAST_ROW]),
  },
  lag: {
    why: 'the same, and leaves the newest rows for later: any transaction can be longer than the lag',
    seed: 1,
    begin: replacing([SCAN_START, FROM_LAST_ROW]),
    page: replacing([PAGE_WHERE, `AND tidemark_source.created_at < now() - interval '10 ms' ${PAGE_WHERE}`]),
  },
  xmin_gate: {
    why: 'the same, and leaves rows of transactions younger than the oldest: an xid is taken at the first write, not at BEGIN',
    seed: 1,
    begin: replacing([SCAN_START, FROM_LAST_ROW]),
    page: replacing([
      PAGE_WHERE,
      `AND tidemark_source.xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint ${PAGE_WHERE}`,
    ]),
  },
  no_closure_check: {
    why: 'moves the edge while transactions from before it are alive',
    seed: 3,
    begin: replacing([CLOSED, 'true AS closed']),
  },
  prepared_ignored: {
    why: 'takes a prepared transaction for one that has ended',
    seed: 4,
    begin: replacing([PREPARED, 'OR (false']),
  },
  begin_merged_with_page: {
    why: 'what is closed is seen after the snapshot was taken, and need not be visible to it',
    seed: 18,
    merged: true,
  },
  tail_moves_the_edge: {
    why: 'one that began earlier and commits later lies behind the cursor, and the tail has not read it',
    seed: 1,
    tail: replacing(['SET last_created_at', 'SET edge = greatest(t.edge, top.created_at), last_created_at']),
  },
  no_floor: {
    why: 'now() of a living transaction can be older than its virtualxid',
    seed: 23,
    begin: replacing([FLOOR_OF_CANDIDATE, 'now()'], [FLOOR_OF_PROOF, 'least(c.cand_ts, now())']),
  },
  floor_of_proof_alone: {
    why: 'a transaction older than its virtualxid can be prepared by the time of the proof, and its session idle',
    seed: 198,
    begin: replacing([FLOOR_OF_CANDIDATE, 'now()']),
  },
  window_of_the_last_page: {
    why: 'what ended between two pages of a pass may lie where the first one has been',
    seed: 2,
    page: replacing([WINDOW, 'CASE WHEN whole.it_is THEN pg_current_snapshot() END ELSE']),
  },
  window_of_an_unfinished_pass: {
    why: 'what a pass has not come to was not seen',
    seed: 1,
    page: replacing(['window_snapshot = CASE WHEN n.is_last THEN', 'window_snapshot = CASE WHEN true THEN']),
  },
  window_without_sub_transactions: {
    why: 'a snapshot lists transactions alone: the rows of a sub-transaction have an xid of their own',
    seed: 1,
    page: replacingAll([
      'age(tidemark_source.xmin) > (SELECT seen.age FROM seen)',
      'pg_visible_in_snapshot(tidemark_source.xmin::text::xid8, (SELECT me.window_snapshot FROM me))',
    ]),
  },
  window_up_to_its_bound: {
    why: 'the bound is the xid of a transaction that has ended since, and wrote rows',
    seed: 2,
    page: replacingAll([
      'age(tidemark_source.xmin) > (SELECT seen.age FROM seen)',
      'age(tidemark_source.xmin) >= (SELECT seen.age FROM seen)',
    ]),
  },
} as const satisfies Record<string, Mutant>

/** Caught by schedules with a name of their own: the order that kills them needs a fault that chance does not bring. */
export const NAMED_MUTANTS = {
  pass_not_compared: {
    why: 'a page of a former pass wakes with a fresh row and a snapshot from before the proof',
    begin: replacing(unguarded(BEGIN_GUARD)),
    page: replacing(unguarded(PAGE_GUARD)),
  },
  pass_not_raised: {
    why: 'the same: begin leaves pass as it is, and nothing refuses the old page',
    begin: replacing(['SET pass = w.pass + 1,', 'SET pass = w.pass,']),
  },
  boot_marker_alone: {
    why: 'the crash of one backend renames prepared transactions without a restart of the server',
    begin: replacing([' OR NOT (s.recovered <@ k.cand_vx) AS reset', ' AS reset']),
  },
  no_clock_guard: {
    why: 'after a clock stepped back, new rows are older than the edge',
    begin: replacing(
      ['least(w.edge, c.scan_from)', 'w.edge'],
      ['least(c.cand_ts, c.floor, now())', 'least(c.cand_ts, c.floor)'],
    ),
  },
  step_forgotten_at_once: {
    why: 'a transaction that began after the step can be longer than the time between two passes',
    begin: replacing([SINCE_STEP, 'CAST(NULL AS timestamptz)']),
  },
  unfinished_pass_trusted: {
    why: 'what a pass has proven and not read to its end is still to be read',
    begin: replacing([SINCE_STEP, SINCE_STEP.replace(' OR me.scan_ts IS NOT NULL', '')]),
  },
  candidate_from_before_the_step: {
    why: 'what began after the step with an earlier time and is prepared by now is not in its list',
    begin: replacing([
      'least(k.cand_ts, now() - coalesce($7::interval, $6::interval) + $5::interval) AS cand_ts',
      'k.cand_ts',
    ]),
  },
  candidate_of_a_former_leader: {
    why: 'the same where another process made the pass before, so that its own clock tells nothing',
    begin: replacing(['coalesce($7::interval, $6::interval)', 'coalesce($7::interval, $5::interval)']),
  },
  sunk_candidate_not_kept: {
    why: 'a candidate that stays open is closed by a pass that knows nothing of the step any more',
    begin: replacing(['scan_from = c.scan_from, cand_ts = c.cand_ts\n', 'scan_from = c.scan_from\n']),
  },
  siread_counted: {
    why: 'what committed SERIALIZABLE transactions leave in pg_locks would hold the edge',
    begin: replacing([PREPARED, 'OR (l.pid IS NULL']),
  },
} as const satisfies Record<string, Mutant>
