import { type Command } from 'commander'
import { requireSameSource } from '../../ingest/sameSource.ts'
import { checkSource } from '../../ingest/sourceCheck.ts'
import { findMissing, replay } from '../../ingest/replay.ts'
import type { Missing, ReplayRange } from '../../ingest/replay.ts'
import { announceInserted } from '../../tables/inbox.ts'
import { findTask } from '../../tables/task.ts'
import { EXIT } from '../exitCodes.ts'
import { pollerSetup, readTime, withPool } from '../poller.ts'
import { complain, print, printJson } from '../terminal.ts'
import { readingVerb, type Ending, type ReadingFlags } from '../verb.ts'

interface Flags extends ReadingFlags {
  readonly from: string
  readonly to: string
  readonly apply?: true
  readonly includeForgotten?: true
}

/** `tidemark replay NAME`: what a range of the source has and the inbox has not; takes it in when told to. */
export function replayVerb(ending: Ending): Command {
  return readingVerb('replay', 'find what is in a range of the source and not in the inbox, and take it in')
    .argument('<name>', 'name of the poller')
    .requiredOption(
      '--from <time>',
      'rows written from then on, with its zone: 2026-03-01T08:00:00Z',
      readTime,
    )
    .requiredOption('--to <time>', 'rows written before then', readTime)
    .option('--apply', 'take them in; without it nothing is changed')
    .option(
      '--include-forgotten',
      'also those older than what retention has forgotten, which may then be processed a second time',
    )
    .action(async (name: string, flags: Flags) => {
      if (Date.parse(flags.from) >= Date.parse(flags.to)) {
        complain(`tidemark: --to is not later than --from; rows are taken from --from on and before --to`)
        ending.code = EXIT.usage
        return
      }
      ending.code = await run(name, flags)
    })
}

async function run(name: string, flags: Flags): Promise<number> {
  const { settings, poller, maxAttempts } = await pollerSetup(flags, name)
  const range = { from: flags.from, to: flags.to }
  return withPool(settings, async (db) => {
    const { source } = await checkSource(db, poller.source)
    requireSameSource(name, await findTask(db, name), source)
    const options = { db, name, source, pageSize: poller.pageSize }
    const missing = await findMissing(options, range)
    if (flags.json !== true) sayMissing(name, range, missing, flags)
    if (flags.apply !== true) {
      if (flags.json === true) printJson({ poller: name, ...range, ...missing, applied: false })
      return EXIT.done
    }
    const stopping = new AbortController()
    const stop = (): void => stopping.abort()
    process.once('SIGINT', stop).once('SIGTERM', stop)
    const refused: string[] = []
    const done = await replay(
      {
        ...options,
        maxAttempts,
        includeForgotten: flags.includeForgotten === true,
        signal: stopping.signal,
        onRefusedRow: (reason, row) => refused.push(`${row.message_id}: ${reason}`),
      },
      range,
    )
    if (done.inserted > 0) await announceInserted(db, name)
    if (flags.json === true) {
      printJson({ poller: name, ...range, ...missing, applied: true, inserted: done.inserted, refused })
    } else {
      print(`  ${count(done.inserted, 'row')} taken in`)
      for (const line of refused) print(`  taken in as DEAD, since it cannot be read: ${line}`)
    }
    if (!done.finished) complain('tidemark: stopped before the end of the range; run it again to go on')
    return done.finished ? EXIT.done : EXIT.failed
  })
}

function sayMissing(name: string, { from, to }: ReplayRange, found: Missing, flags: Flags): void {
  const { looked, missing, firstMissing, forgotten, firstForgotten, forgottenBefore } = found
  const all = missing + forgotten
  print(
    `${name}: not in the inbox: ${all === 0 ? 'none' : all} of ${count(looked, 'row')} from ${from} to ${to}`,
  )
  if (missing > 0) print(`  ${missing} never taken in: ${listed(firstMissing, missing)}`)
  if (forgotten > 0) {
    print(
      `  ${forgotten} older than ${forgottenBefore ?? ''}, which retention has forgotten: ${listed(firstForgotten, forgotten)}`,
    )
    print(
      flags.includeForgotten === true
        ? '    nobody can know whether they were processed: taken in, they may be processed a second time'
        : '    nobody can know whether they were processed, so they are left out; --include-forgotten takes them in, too',
    )
  }
  if (flags.apply !== true && all > 0) print('  nothing was changed; --apply takes them in')
}

function listed(first: readonly string[], all: number): string {
  return `${first.join(', ')}${all > first.length ? ', …' : ''}`
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}
