import { type Command } from 'commander'
import { requireSameSource } from '../../ingest/sameSource.ts'
import { checkSource } from '../../ingest/sourceCheck.ts'
import { replay } from '../../ingest/replay.ts'
import type { ReplayRange } from '../../ingest/replay.ts'
import { lookAtRange } from '../../ingest/replayLook.ts'
import type { ReplayLook } from '../../ingest/replayLook.ts'
import { withTransaction } from '../../db/transaction.ts'
import { amendAction, recordAction } from '../../tables/control.ts'
import { announceInserted } from '../../tables/inbox.ts'
import { findTask } from '../../tables/task.ts'
import { actHere } from '../actor.ts'
import { EXIT } from '../exitCodes.ts'
import { BEGINNING, pollerSetup, readBeginning, readTime, withPool } from '../poller.ts'
import { withProgress } from '../progress.ts'
import type { Progress } from '../progress.ts'
import { complain, grouped, print, printJson } from '../terminal.ts'
import { readingVerb, type Ending, type ReadingFlags } from '../verb.ts'

interface Flags extends ReadingFlags {
  readonly from?: string
  readonly to?: string
  readonly apply?: true
  readonly includeForgotten?: true
}

/** `tidemark replay NAME`: what a range of the source has and the inbox has not; takes it in when told to. */
export function replayVerb(ending: Ending): Command {
  return readingVerb('replay', 'find what is in a range of the source and not in the inbox, and take it in')
    .argument('<name>', 'name of the poller')
    .option(
      '--from <time>',
      "rows written from then on, with its zone: 2026-03-01T08:00:00Z; or 'beginning'",
      readBeginning,
    )
    .option('--to <time>', 'rows written before then', readTime)
    .option('--apply', 'take them in; without it nothing is changed')
    .option(
      '--include-forgotten',
      'also those older than what retention has forgotten, which may then be processed a second time',
    )
    .action(async (name: string, flags: Flags, command: Command) => {
      const { from, to } = flags
      if (from === undefined || to === undefined) {
        // commander's own requiredOption names one at a time.
        const given = Object.entries({ "'--from <time>'": from, "'--to <time>'": to })
        const lacking = given.filter(([, value]) => value === undefined).map(([flag]) => flag)
        return command.error(`error: required and not given: ${lacking.join(' and ')}`)
      }
      if (Date.parse(from) >= Date.parse(to)) {
        complain(`tidemark: --to is not later than --from; rows are taken from --from on and before --to`)
        ending.code = EXIT.usage
        return
      }
      ending.code = await withProgress((progress) => run(name, { from, to }, flags, progress))
    })
}

async function run(name: string, range: ReplayRange, flags: Flags, progress: Progress): Promise<number> {
  const { settings, poller, maxAttempts } = await pollerSetup(flags, name)
  progress.show(undefined, `${name}: looking at its source`)
  return withPool(settings, async (db) => {
    const { source } = await checkSource(db, poller.source)
    requireSameSource(name, await findTask(db, name), source)
    const options = { db, name, source, pageSize: poller.pageSize }
    const look = await lookAtRange(
      {
        ...options,
        onPage: (rows) => progress.show(undefined, `${name}: ${grouped(rows)} rows looked at`),
      },
      range,
    )
    if (flags.json !== true) progress.aside(() => sayLook(name, range, look, flags))
    if (flags.apply !== true) {
      if (flags.json === true) printJson({ ...documentOf(name, range, look), applied: false })
      return EXIT.done
    }
    const stopping = new AbortController()
    const stop = (): void => stopping.abort()
    process.once('SIGINT', stop).once('SIGTERM', stop)
    const refused: string[] = []
    const action = await withTransaction(db, async (client) => {
      await actHere(client)
      const includeForgotten = flags.includeForgotten === true
      return recordAction(client, 'replay', name, { ...range, include_forgotten: includeForgotten })
    })
    const done = await replay(
      {
        ...options,
        onPage: (rows) => {
          const all = Math.max(rows, look.looked)
          progress.show(
            rows / all,
            `${name}: ${grouped(rows)} of ${grouped(all)} rows, taken in where missing`,
          )
        },
        maxAttempts,
        includeForgotten: flags.includeForgotten === true,
        signal: stopping.signal,
        onRefusedRow: (reason, row) => refused.push(`${row.message_id}: ${reason}`),
      },
      range,
    )
    await amendAction(db, action, { inserted: done.inserted, finished: done.finished })
    if (done.inserted > 0) await announceInserted(db, name)
    progress.end()
    if (flags.json === true) {
      printJson({ ...documentOf(name, range, look), applied: true, inserted: done.inserted, refused })
    } else {
      print(`  ${count(done.inserted, 'row')} taken in`)
      for (const line of refused) print(`  taken in as DEAD, since it cannot be read: ${line}`)
    }
    if (!done.finished) complain('tidemark: stopped before the end of the range; run it again to go on')
    return done.finished ? EXIT.done : EXIT.failed
  })
}

/** Names as `status --json` has them. */
function documentOf(name: string, range: ReplayRange, look: ReplayLook) {
  return {
    poller: name,
    ...range,
    edge: look.edge,
    looked: look.looked,
    not_in_inbox: absent(look),
    missing: look.missing,
    first_missing: look.firstMissing,
    waiting: look.waiting,
    first_waiting: look.firstWaiting,
    forgotten: look.forgotten,
    first_forgotten: look.firstForgotten,
    forgotten_before: look.forgottenBefore,
  }
}

function absent({ missing, waiting, forgotten }: ReplayLook): number {
  return missing + waiting + forgotten
}

function sayLook(name: string, { from, to }: ReplayRange, look: ReplayLook, flags: Flags): void {
  const { missing, waiting, forgotten } = look
  const all = absent(look)
  const start = from === BEGINNING ? 'the beginning' : from
  print(
    `${name}: not in the inbox: ${all === 0 ? 'none' : all} of ${count(look.looked, 'row')} from ${start} to ${to}`,
  )
  if (missing > 0) print(`  ${missing} never taken in: ${listed(look.firstMissing, missing)}`)
  if (waiting > 0) {
    const edge = look.edge === BEGINNING || look.edge === null ? '' : ` from the edge ${look.edge} on,`
    print(
      `  ${waiting}${edge} not read yet, which the next pass takes in: ${listed(look.firstWaiting, waiting)}`,
    )
  }
  if (forgotten > 0) {
    print(
      `  ${forgotten} older than ${look.forgottenBefore ?? ''}, which retention has forgotten: ${listed(look.firstForgotten, forgotten)}`,
    )
    print(
      flags.includeForgotten === true
        ? '    nobody can know whether they were processed: taken in, they may be processed a second time'
        : '    nobody can know whether they were processed, so they are left out without --include-forgotten',
    )
  }
  if (flags.apply !== true && all > 0) print(`  nothing was changed; ${remedy(look, flags)}`)
}

/** What takes in the rows of a dry run. */
function remedy({ missing, waiting, forgotten }: ReplayLook, flags: Flags): string {
  if (missing + forgotten === 0) return 'the next pass takes them in'
  if (forgotten === 0) return '--apply takes them in'
  if (missing === 0 || flags.includeForgotten === true) return '--apply --include-forgotten takes them in'
  const without = missing + waiting
  return `--apply takes in ${without}, --apply --include-forgotten all ${without + forgotten}`
}

function listed(first: readonly string[], all: number): string {
  return `${first.join(', ')}${all > first.length ? ', …' : ''}`
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}
