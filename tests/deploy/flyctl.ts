/*
 * flyctl as far as scripts/deploy.sh asks it, with machines that are real: `deploy` runs the release command, starts a green
 * process of `tidemark start`, waits for its check, and stops blue, in the order of Fly.io's blue-green; `releases` lists what
 * was released, and notes how it was asked in the file `asked`. Its world is the folder FAKE_FLY. FAKE_FLY_TROUBLE: `green` (a green that never gets ready), `blue` (a blue that is not stopped).
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { until } from '../support/until.ts'

interface Machine {
  readonly pid: number
  readonly log: string
}

interface Release {
  readonly ImageRef: string
  readonly Status: 'complete' | 'failed'
}

interface World {
  /** Newest first; those that failed, too. */
  readonly releases: readonly Release[]
  readonly machines: readonly Machine[]
  /** Ever started. */
  readonly count: number
}

const folder = process.env['FAKE_FLY'] ?? ''
const trouble = process.env['FAKE_FLY_TROUBLE']
const worldFile = join(folder, 'world.json')
const BIN = process.env['FAKE_FLY_BIN'] ?? resolve(import.meta.dirname, '../../bin/tidemark.js')

function world(): World {
  if (!existsSync(worldFile)) return { releases: [], machines: [], count: 0 }
  // Written below.
  return JSON.parse(readFileSync(worldFile, 'utf8')) as World
}

function note(now: World): void {
  writeFileSync(worldFile, JSON.stringify(now))
}

function start(image: string, number: number): Machine {
  const log = join(folder, `machine-${number}.log`)
  const config = trouble === 'green' ? ['--config', 'none.ts'] : []
  const child = spawn(process.execPath, [BIN, 'start', ...config], {
    detached: true,
    stdio: ['ignore', 'ignore', openSync(log, 'a')],
    env: {
      ...process.env,
      ...{
        FLY_MACHINE_ID: `machine${number}`,
        FLY_IMAGE_REF: image,
        FLY_APP_NAME: 'shop',
        FLY_REGION: 'fra',
      },
      ...{ RUN_MIGRATIONS: '0', PORT: '0', LOG_FORMAT: 'json' },
    },
  })
  child.unref()
  if (child.pid === undefined) throw new Error('green could not be started')
  return { pid: child.pid, log }
}

/** One that nobody has waited for yet has ended all the same. */
function lives({ pid }: Machine): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

async function passes(machine: Machine): Promise<boolean> {
  const line = readFileSync(machine.log, 'utf8')
    .split('\n')
    .slice(0, -1)
    .find((text) => text.includes('"event":"ready"'))
  if (line === undefined) return false
  const { address } = JSON.parse(line) as { readonly address: string }
  return (await fetch(`${address}/ready`)).ok
}

async function deploy(args: readonly string[]): Promise<number> {
  const before = world()
  const asked = args.indexOf('--image')
  const image =
    asked >= 0 ? (args[asked + 1] ?? '') : `registry.fly.io/shop:deployment-${before.releases.length + 1}`
  const release = spawnSync(process.execPath, [BIN, 'migrate'], { stdio: 'inherit' })
  if (release.status !== 0) return failed('release command failed')
  const count = before.count + 1
  const green = start(image, count)
  // Noted at once: whoever ends all this must know of it.
  note({ ...before, machines: [...before.machines, green], count })
  await until('green', async () => !lives(green) || (await passes(green)), 60_000)
  if (!lives(green)) {
    const releases: Release[] = [{ ImageRef: image, Status: 'failed' }, ...before.releases]
    note({ ...before, releases, count })
    return failed('green never got healthy; it is destroyed, and blue goes on')
  }
  const blue = trouble === 'blue' ? [] : before.machines
  for (const machine of blue) if (lives(machine)) process.kill(machine.pid, 'SIGTERM')
  await until('blue to end', () => !blue.some(lives), 60_000)
  const left = before.machines.filter((machine) => !blue.includes(machine))
  const releases: Release[] = [{ ImageRef: image, Status: 'complete' }, ...before.releases]
  note({ releases, machines: [...left, green], count })
  return 0
}

function failed(why: string): number {
  process.stderr.write(`Error: ${why}\n`)
  return 1
}

const [verb, ...args] = process.argv.slice(2)
if (verb === 'releases') {
  writeFileSync(join(folder, 'asked'), args.join(' '))
  process.stdout.write(JSON.stringify(world().releases))
} else if (verb === 'deploy') {
  process.exitCode = await deploy(args)
} else {
  process.exitCode = failed(`unknown command "${String(verb)}"`)
}
