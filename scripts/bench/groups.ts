import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'
import { Command, InvalidArgumentError } from 'commander'
import { bossContestant } from './groups/boss.ts'
import { killAll } from './groups/child.ts'
import { broken, groupsText } from './groups/report.ts'
import { tidemark } from './groups/tidemark.ts'
import { tryOut } from './groups/trial.ts'
import type { Figures, Load } from './groups/trial.ts'
import { startBenchServer } from './server.ts'
import { benchSql } from './statements.ts'

/*
 * npm run bench:groups: whether a limit per tenant holds. Tidemark's slots, then pg-boss's `groupConcurrency`, under the same
 * load: real processes, bursts with notifications, one process killed by SIGKILL every few seconds. It starts a PostgreSQL of
 * its own in a temporary folder. It ends with 1 when Tidemark did not hold what it promises; of pg-boss it only tells.
 */

interface Options {
  readonly messages: number
  readonly tenants: number
  readonly processes: number
  readonly kills: number
  readonly every: number
  readonly limit: number
  readonly notify: boolean
  readonly json: boolean
}

const options = new Command('bench:groups')
  .description('A limit per tenant under load and kills: Tidemark beside pg-boss.')
  .option('--messages <n>', 'messages of the part with kills', count, 4_000)
  .option('--tenants <n>', 'tenants', count, 50)
  .option('--processes <n>', 'processes of each', count, 4)
  .option('--kills <n>', 'processes killed', count, 3)
  .option('--every <seconds>', 'time between two kills', count, 10)
  .option('--limit <seconds>', 'time for what was written to be done', count, 120)
  .option('--no-notify', 'pg-boss polls only')
  .option('--json', 'one JSON document on stdout', false)
  .parse()
  .opts<Options>()

const { json, notify, every, limit, ...sizes } = options
const load: Load = { ...sizes, everyMs: every * 1000, limitMs: limit * 1000 }
const server = await startBenchServer()
const interrupted = (signal: NodeJS.Signals): void => {
  killAll()
  void server.end().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
}
process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
try {
  await server.query(benchSql('make_groups'))
  const machine = [
    `${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? 'unknown'})`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `load ${loadavg()[0]?.toFixed(1) ?? '?'} at the start`,
    `Node ${process.versions.node}`,
    `PostgreSQL ${server.version}, default durability`,
  ]
  if (!json) process.stdout.write(`${machine.join(' · ')}\n`)
  const figures: Figures[] = []
  for (const contestant of [tidemark, bossContestant(notify)])
    figures.push(await tryOut(server, contestant, load, progress))
  progress('')
  process.stdout.write(
    json ? `${JSON.stringify({ machine, load, figures }, null, 2)}\n` : groupsText(load, figures),
  )
  const faults = figures.slice(0, 1).flatMap((ours) => broken(ours, load))
  for (const fault of faults) process.stderr.write(`${fault}\n`)
  if (faults.length > 0) process.exitCode = 1
} finally {
  killAll()
  await server.end()
}

function progress(what: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${what}\r`)
}

function count(value: string): number {
  if (/^[1-9]\d*$/.test(value)) return Number(value)
  throw new InvalidArgumentError('a whole number, 1 or more')
}
