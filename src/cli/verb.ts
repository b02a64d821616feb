import { Command } from 'commander'
import type { TidemarkConfig } from '../config/types.ts'
import { readSetup, type Setup } from './setup.ts'

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
