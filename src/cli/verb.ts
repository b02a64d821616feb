import { Command } from 'commander'
import type { TidemarkConfig } from '../config/types.ts'
import { readSetup, type Setup } from './setup.ts'
import { readEvery } from './watch.ts'

/** Where a verb leaves its exit code; main.ts alone hands it to the process. */
export interface Ending {
  code: number
}

/** A verb and its place in `--help`; every verb takes `--config`. */
export function verb(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option('--config <file>', 'config file (default: ./tidemark.config.{ts,mts,js,mjs})')
}

/** Flags that every reading verb has. */
export interface ReadingFlags {
  readonly config?: string
  readonly json?: true
}

/** A verb that only reads: `--json` makes it print one JSON document. */
export function readingVerb(name: string, description: string): Command {
  return verb(name, description).option('--json', 'print one JSON document')
}

/** Flags of a verb that can look again and again. */
export interface WatchedFlags extends ReadingFlags {
  /** Seconds between two looks; true: as often as is usual. */
  readonly watch?: true | number
}

/** A reading verb with `--watch`. */
export function watchedVerb(name: string, description: string): Command {
  return readingVerb(name, description).option(
    '--watch [seconds]',
    'look again every 2 s, or as often as said, until Ctrl-C',
    readEvery,
  )
}

/** Settings of a verb that works on the database alone; a config file is checked when it is named. */
export function databaseSetup(flags: { config?: string }): Promise<Setup> {
  return readSetup({ file: flags.config, look: 'named' })
}

/** Settings and config of a verb that runs tasks; `demo` stands in for a file. */
export function taskSetup(flags: { config?: string }, demo?: TidemarkConfig): Promise<Setup> {
  return readSetup({
    file: flags.config,
    look: 'everywhere',
    ...(demo === undefined ? {} : { config: demo }),
  })
}
