import { table } from './table.ts'

/** An incident, and the faults of docs/faults.md that provoke it anew. */
const PROVOKED: readonly (readonly [incident: string, faults: readonly string[]])[] = [
  [
    'a deploy stopped a worker in mid-message (6)',
    ['rolling_sigterm', 'blue_green', 'drain_cut_short', 'hundred_deploys'],
  ],
  ['a deploy was aborted', ['blue_green_aborted']],
  ['a process was killed, or ended itself', ['leader_killed', 'leader_killed_every_5_s', 'handlers_exit']],
  [
    'a process froze',
    ['frozen_for_5_s', 'frozen_for_20_s', 'frozen_for_60_s', 'event_loop_blocked_for_20_s'],
  ],
  [
    'the database was away (4, 5)',
    [
      'server_restarted_fast',
      'server_restarted_immediate',
      'server_restarted_kill',
      'network_cut',
      'network_black_hole_20_s',
    ],
  ],
  ['connections or slots ran out (8)', ['pool_exhausted', 'max_connections', 'claimed_again_beside_itself']],
  [
    'rows were skipped (10)',
    [
      'late_commit',
      'held_transactions',
      'equal_timestamps',
      'two_transactions_in_a_message',
      'serializable_writers',
    ],
  ],
]

interface Row {
  readonly runs: number
  readonly rows: number
  readonly lost: number
  readonly doubled: number
  readonly silenceS: number
}

/** What the fault suite measured of each incident, from the page that it writes. */
export function describeMeasured(faults: string): string {
  const known = new Map(rowsOf(faults))
  const lines = PROVOKED.map(([incident, names]) => {
    const found = names.map((name) => {
      const row = known.get(name)
      if (row === undefined) throw new Error(`docs/faults.md has no fault ${name}`)
      return row
    })
    const sum = (of: (row: Row) => number): string =>
      found.reduce((all, row) => all + of(row), 0).toLocaleString('en')
    const silence = Math.max(...found.map(({ silenceS }) => silenceS))
    return [
      incident,
      names.map((name) => `\`${name}\``).join(', '),
      sum(({ runs }) => runs),
      sum(({ rows }) => rows),
      sum(({ lost }) => lost),
      sum(({ doubled }) => doubled),
      `${silence} s`,
    ]
  })
  return table(['incident', 'provoked by', 'runs', 'rows', 'lost', 'doubled', 'longest silence'], lines)
}

/** Rows of the first table, by fault: runs, rows, lost, doubled, ran again, burned, refused, silence. */
function rowsOf(faults: string): [string, Row][] {
  const [, all = ''] = faults.split('\n## The faults\n')
  const first = all.split('\n## ')[0] ?? ''
  return first.split('\n').flatMap((line): [string, Row][] => {
    const name = /^\| \*\*(\w+)\*\*/.exec(line)?.[1]
    if (name === undefined) return []
    const [runs = '', rows, lost, doubled, , , , silence = ''] = line.split(' | ').slice(1)
    return [
      [
        name,
        {
          runs: Number.parseInt(runs, 10),
          rows: Number(rows),
          lost: Number(lost),
          doubled: Number(doubled),
          silenceS: Number.parseFloat(silence),
        },
      ],
    ]
  })
}
