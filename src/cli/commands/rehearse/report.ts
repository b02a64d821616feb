import { stripVTControlCharacters } from 'node:util'
import type { Named, SourceCount } from '../../../rehearse/count.ts'
import type { Rehearsal } from '../../../rehearse/rehearsal.ts'
import { span } from '../../../kit/span.ts'
import { coloured, print, table } from '../../terminal.ts'

/** The table for people, and below it what is not as it should be, by name. */
export function printRehearsal(result: Rehearsal): void {
  print(table(['', ''], facts(result)))
  print()
  print(sourceTable(result.sources, process.stdout.columns))
  print()
  for (const source of result.sources) {
    printNamed(source.lost, `${source.poller}: lost`)
    printNamed(source.doubled, `${source.poller}: doubled`)
    printNamed(source.attempts_burned, `${source.poller}: an attempt burned without a failure`)
    for (const { status, error, messages, example } of source.given_up) {
      print(`${source.poller}: ${messages} ${status}, such as ${example}: ${error ?? 'no error'}`)
    }
  }
  for (const { name, found, detail } of result.invariants_broken) {
    print(coloured('red', `${name} does not hold (${found ?? '?'} found): ${detail}`))
  }
  if (result.not_tested.length > 0) {
    const which = result.not_tested.join(', ')
    print(coloured('red', `Not tested: no row was taken in by ${which}. A higher --rate writes more.`))
  }
  print(
    result.ok
      ? coloured(
          'green',
          `Nothing lost, nothing doubled: ${result.written} rows through ${deploys(result)}.`,
        ) + givenUp(result)
      : coloured('red', `${result.lost} lost, ${result.doubled} doubled, of ${result.written} rows.`),
  )
}

/** What a handler gives up is not lost by us, and yet not what anybody hopes for. */
function givenUp({ sources }: Rehearsal): string {
  const dead = sources.reduce((sum, source) => sum + source.dead, 0)
  return dead === 0 ? '' : coloured('yellow', ` Handlers gave up ${dead} of them.`)
}

function deploys({ machines: { deploys: n } }: Rehearsal): string {
  return `${n} ${n === 1 ? 'deploy' : 'deploys'}`
}

function facts(result: Rehearsal): string[][] {
  const { machines } = result
  const change = (reason: string): string => {
    const found = result.leader_changes.find((one) => one.reason === reason)
    return found === undefined ? '0' : `${found.changes}, the longest ${found.longest_ms ?? '?'} ms`
  }
  const killed = machines.killed_leaders + machines.killed_greens
  return [
    ['deploys', `${machines.deploys}${machines.aborted > 0 ? `, and ${machines.aborted} aborted` : ''}`],
    [
      'rows written',
      `${result.written} in ${result.seconds} s; ${result.committed_late} committed late, ${result.rolled_back} rolled back`,
    ],
    ['lost', mark(result.lost)],
    ['doubled', mark(result.doubled)],
    ['longest silence', span(result.longest_silence_ms / 1000)],
    ['hand-overs', change('handed_over')],
    ['takeovers', change('took_over')],
    ['longest drain', span(machines.longest_drain_ms / 1000)],
    [
      'killed',
      `${killed}${machines.killed_at_limit > 0 ? `, and ${machines.killed_at_limit} that outlasted a drain` : ''}`,
    ],
    ...(machines.crashed > 0 ? [['ended by themselves', coloured('yellow', String(machines.crashed))]] : []),
    ...(result.writes_failed > 0
      ? [['transactions that failed', coloured('yellow', String(result.writes_failed))]]
      : []),
    ['stale writes refused', String(machines.stale_writes_refused)],
    ['seed', String(result.seed)],
  ]
}

function sourceRow(source: SourceCount): string[] {
  return [
    source.poller,
    source.contract ?? 'none',
    String(source.written),
    String(source.done),
    String(source.dead),
    String(source.retrying),
    mark(source.lost.count),
    mark(source.doubled.count),
    String(source.run_again.count),
    String(source.attempts_burned.count),
    `${span(source.longest_silence_ms / 1000)} (every ${span(source.every_ms / 1000)})`,
  ]
}

const HEAD = [
  'poller',
  'contract',
  'written',
  'done',
  'dead',
  'to retry',
  'lost',
  'doubled',
  'run again',
  'burned',
  'silence',
]

/** A row for each source, or a block where the terminal is too narrow for that; undefined: what is no terminal. */
export function sourceTable(sources: readonly SourceCount[], columns: number | undefined): string {
  const rows = sources.map(sourceRow)
  const wide = table(HEAD, rows)
  const width = Math.max(...wide.split('\n').map((line) => stripVTControlCharacters(line).length))
  if (columns === undefined || width <= columns) return wide
  return rows
    .map((row) =>
      table(
        ['', ''],
        HEAD.map((name, n) => [name, row[n] ?? '']),
      ).trimStart(),
    )
    .join('\n\n')
}

function mark(count: number): string {
  return count === 0 ? coloured('green', '0') : coloured('red', String(count))
}

function printNamed({ count, first }: Named, what: string): void {
  if (count === 0) return
  print(
    coloured(
      'red',
      `${what}: ${first.join(', ')}${count > first.length ? `, and ${count - first.length} more` : ''}`,
    ),
  )
}
