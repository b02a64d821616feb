import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'
import { Command, InvalidArgumentError } from 'commander'
import { compete } from './contest.ts'
import { drainPart, singlePart, slotsPart } from './parts/drain.ts'
import { intakePart } from './parts/intake.ts'
import { ingestPart } from './parts/ingest.ts'
import { latencyFloorLine, latencyText, measureLatency } from './latency/latency.ts'
import { figuresOf, floorLine, limitLine, tableOf } from './report.ts'
import type { PartFigures } from './report.ts'
import type { Part } from './part.ts'
import { startBenchServer } from './server.ts'
import type { BenchServer } from './server.ts'

/*
 * npm run bench: how fast Tidemark is, beside bare SQL on the same server in the same minutes. Only ratios travel from
 * one machine to another. It starts a PostgreSQL of its own in a temporary folder, with default durability, and needs
 * nothing else. The last lines say which floors were reached; one that was not makes it end with 1.
 */

/** Rows a round and rounds, by how much time there is. */
const FULL = { rows: 100_000, rounds: 5 }
const QUICK = { rows: 20_000, rounds: 5 }

/** One message a call is slower by far, so fewer of them show as much. */
const SINGLE_SHARE = 4

const PARTS: Readonly<Record<string, (server: BenchServer, rows: number) => Part>> = {
  ingest: ingestPart,
  drain: drainPart,
  slots: (server, rows) => slotsPart(server, Math.ceil(rows / SINGLE_SHARE)),
  single: (server, rows) => singlePart(server, Math.ceil(rows / SINGLE_SHARE)),
  intake: intakePart,
}

/** No race of many messages but of one at a time. */
const LATENCY = 'latency'
const LATENCY_TURNS = { most: 500, quick: 100, share: 20 }

const NAMES = [...Object.keys(PARTS), LATENCY]

interface Options {
  readonly quick: boolean
  readonly only: string[]
  readonly json: boolean
  readonly rows?: number
  readonly rounds?: number
}

const command = new Command('bench')
  .description('Speed of Tidemark beside bare SQL, as ratios of medians.')
  .option('--quick', `${QUICK.rows} messages a round instead of ${FULL.rows}`, false)
  .option('--only <parts>', `some of ${NAMES.join(', ')}, with commas`, parts, NAMES)
  .option('--rows <n>', 'messages a round', count)
  .option('--rounds <n>', 'rounds', count)
  .option('--json', 'one JSON document on stdout', false)
  .parse()

const { quick, only, json, ...sizes } = command.opts<Options>()
const { rows, rounds } = { ...(quick ? QUICK : FULL), ...sizes }
const server = await startBenchServer()
const interrupted = (signal: NodeJS.Signals): void => {
  void server.end().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
}
process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
try {
  const results: PartFigures[] = []
  const machine = describeMachine()
  if (!json) process.stdout.write(`${Object.values(machine).join(' · ')}\n`)
  for (const [name, make] of Object.entries(PARTS)) {
    if (!only.includes(name)) continue
    const result = await figuresOf(await compete(server, make(server, rows), rounds, progress))
    results.push(result)
    if (!json) process.stdout.write(tableOf(result))
  }
  const missed = results.flatMap(({ floors, limits }) => [
    ...floors.filter(({ reached }) => !reached).map(floorLine),
    ...limits.filter(({ reached }) => !reached).map(limitLine),
  ])
  const turns = Math.min(
    Math.ceil(rows / LATENCY_TURNS.share),
    quick ? LATENCY_TURNS.quick : LATENCY_TURNS.most,
  )
  const latency = only.includes(LATENCY) ? await measureLatency(server, turns) : undefined
  if (latency !== undefined && !json) process.stdout.write(latencyText(latency))
  missed.push(...(latency?.floors.filter(({ reached }) => !reached).map(latencyFloorLine) ?? []))
  const loadAfter = loadText()
  if (json)
    process.stdout.write(
      `${JSON.stringify({ machine, loadAfter, rounds, parts: results, latency }, null, 2)}\n`,
    )
  else process.stdout.write(`\n${loadAfter} at the end\n`)
  for (const line of missed) process.stderr.write(`${line}\n`)
  if (missed.length > 0) process.exitCode = 1
} finally {
  await server.end()
}

function progress(contestant: string, round: number): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[Kround ${round} of ${rounds}: ${contestant}\r`)
}

function describeMachine(): Record<string, string> {
  return {
    cores: `${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? 'unknown'})`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    load: `${loadText()} at the start`,
    node: `Node ${process.versions.node}`,
    postgres: `PostgreSQL ${server.version}, default durability`,
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
