import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'
import { Command, InvalidArgumentError } from 'commander'
import type { Verdict } from './part.ts'
import { PARTS } from './parts.ts'
import { startBenchServer } from './server.ts'

/*
 * npm run bench: how fast Tidemark is, beside bare SQL and what people would pick instead, in the same minutes. Only ratios
 * travel from one machine to another. It starts a PostgreSQL of its own in a temporary folder, with default durability; what
 * else it is measured beside is installed in peers/ when a part first needs it. Its parts are in parts.ts. The last lines say
 * which floors were missed; one makes it end with 1.
 */

/** Rows a round and rounds, by how much time there is. */
const FULL = { rows: 100_000, rounds: 5 }
const QUICK = { rows: 20_000, rounds: 5 }

const NAMES = PARTS.map(({ name }) => name)
const BY_DEFAULT = PARTS.filter(({ onRequest }) => onRequest !== true).map(({ name }) => name)

interface Options {
  readonly quick: boolean
  readonly only: string[]
  readonly json: boolean
  readonly list: boolean
  readonly rows?: number
  readonly rounds?: number
  readonly minutes?: number | undefined
  readonly finished?: number | undefined
}

const command = new Command('bench')
  .description('Speed of Tidemark beside bare SQL and others, as ratios of medians.')
  .option('--quick', `${QUICK.rows} messages a round instead of ${FULL.rows}`, false)
  .option('--only <parts>', `some of ${NAMES.join(', ')}, with commas`, parts, BY_DEFAULT)
  .option('--rows <n>', 'messages a round', count)
  .option('--rounds <n>', 'rounds', count)
  .option('--minutes <n>', 'line: at half the peak for so long; soak: for so long', time)
  .option('--finished <n>', 'scale: finished rows in the fullest inbox', count)
  .option('--json', 'one JSON document on stdout', false)
  .option('--list', 'the parts, a line each', false)
  .parse()

const { quick, only, json, list, ...sizes } = command.opts<Options>()
if (list) {
  for (const { name, about, onRequest } of PARTS)
    process.stdout.write(`${name.padEnd(16)}${about}${onRequest === true ? ' (only by --only)' : ''}\n`)
} else {
  await measure()
}

async function measure(): Promise<void> {
  const { rows, rounds, minutes, finished } = {
    minutes: undefined,
    finished: undefined,
    ...(quick ? QUICK : FULL),
    ...sizes,
  }
  const server = await startBenchServer()
  const interrupted = (signal: NodeJS.Signals): void => {
    void server.end().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  }
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    const machine = describeMachine(server.version, rounds)
    if (!json) process.stdout.write(`${Object.values(machine).join(' · ')}\n`)
    const parts: object[] = []
    const verdicts: Verdict[] = []
    for (const part of PARTS) {
      if (!only.includes(part.name)) continue
      const outcome = await part.run(server, { rows, rounds, quick, minutes, finished }, tell)
      parts.push({ part: part.name, ...outcome.json })
      verdicts.push(...outcome.verdicts)
      if (!json) process.stdout.write(outcome.text)
    }
    const loadAfter = loadText()
    process.stdout.write(
      json
        ? `${JSON.stringify({ machine, loadAfter, rounds, parts }, null, 2)}\n`
        : `\n${loadAfter} at the end\n`,
    )
    const missed = verdicts.filter(({ reached }) => !reached)
    for (const { line } of missed) process.stderr.write(`${line}\n`)
    if (missed.length > 0) process.exitCode = 1
  } finally {
    await server.end()
  }
}

/** What goes on, in one line that the next one takes the place of. */
function tell(what: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${what}\r`)
}

function describeMachine(postgres: string, rounds: number): Record<string, string> {
  return {
    cores: `${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? 'unknown'})`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    load: `${loadText()} at the start`,
    node: `Node ${process.versions.node}`,
    postgres: `PostgreSQL ${postgres}, default durability`,
    rounds: `rounds: ${rounds}`,
  }
}

function loadText(): string {
  return `load ${loadavg()
    .map((load) => load.toFixed(1))
    .join(' ')}`
}

function parts(value: string): string[] {
  const names = value.split(',').map((name) => name.trim())
  const unknown = names.find((name) => !NAMES.includes(name))
  if (unknown === undefined) return names
  throw new InvalidArgumentError(`there is no part ${unknown}`)
}

function count(value: string): number {
  if (/^[1-9]\d*$/.test(value)) return Number(value)
  throw new InvalidArgumentError('a whole number, 1 or more')
}

function time(value: string): number {
  if (/^\d+(\.\d+)?$/.test(value) && Number(value) > 0) return Number(value)
  throw new InvalidArgumentError('minutes, more than 0')
}
