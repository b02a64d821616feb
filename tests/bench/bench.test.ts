import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { dirname, resolve } from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'
import { PARTS } from '../../scripts/bench/parts.ts'
import { loadPeer } from '../../scripts/bench/peers.ts'
import { findRedis } from '../../scripts/bench/redis.ts'
import { figuresOf, median } from '../../scripts/bench/report.ts'
import type { PartFigures } from '../../scripts/bench/report.ts'
import type { PushResult } from '../../scripts/bench/push.ts'
import type { Measured } from '../../scripts/bench/meter.ts'

const main = resolve(import.meta.dirname, '../../scripts/bench/main.ts')
const run = promisify(execFile)

/** What a run came to; 1 is a run that measured, and missed a floor: so few messages say nothing of speed. */
async function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return benchWith(process.env, ...args)
}

async function benchWith(
  env: NodeJS.ProcessEnv,
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    return { code: 0, ...(await run(process.execPath, [main, ...args], { env })) }
  } catch (error) {
    // execFile rejects with these three fields when the program ended with another code than 0.
    return error as { code: number; stdout: string; stderr: string }
  }
}

test('a run measures contests on a server of its own, and gives ratios', async () => {
  const { code, stdout, stderr } = await bench(
    '--only',
    'ingest,drain,instances,transactional,slots,intake,push',
    '--rows',
    '400',
    '--rounds',
    '1',
    '--json',
  )
  assert.ok(code === 0 || code === 1, stderr)
  const { parts } = JSON.parse(stdout) as { parts: [...PartFigures[], PushResult & { part: 'push' }] }
  assert.deepEqual(
    parts.map(({ part }) => part),
    ['ingest', 'drain', 'instances', 'transactional', 'slots', 'intake', 'push'],
  )
  const push = parts.at(-1) as PushResult
  const contests = parts.slice(0, -1) as PartFigures[]
  for (const { figures, floors, limits } of contests) {
    for (const { value, most, reached } of limits) assert.equal(reached, value <= most)
    for (const { contestant, median: speed, ratio, walBytes } of figures) {
      assert.ok(speed > 0 && ratio > 0, `${contestant} has no speed`)
      assert.ok(walBytes === null || walBytes >= 0, `${contestant} has no WAL`)
    }
    for (const { ratio, least, reached } of floors) assert.equal(reached, ratio >= least)
  }
  assert.equal(push.figures.length, 3)
  for (const { contestant, p50, max } of push.figures) assert.ok(p50 > 0 && max >= p50, contestant)
  assert.equal(
    code === 1,
    !push.floor.reached ||
      contests.some(({ floors, limits }) => [...floors, ...limits].some(({ reached }) => !reached)),
  )
})

test('the drain is beside others, each with its settings and guarantees; one whose server is missing is left out, and it is said', async () => {
  // Installed with the whole PATH: npm may be where redis-server is.
  await loadPeer('bullmq')
  const settings = ['--only', 'drain', '--rows', '300', '--rounds', '1', '--json']
  const figuresWith = async (env: NodeJS.ProcessEnv): Promise<PartFigures> => {
    const { stdout, stderr } = await benchWith(env, ...settings)
    assert.notEqual(stdout, '', stderr)
    const [drain] = (JSON.parse(stdout) as { parts: PartFigures[] }).parts
    assert.ok(drain !== undefined)
    return drain
  }
  const whole = await figuresWith(process.env)
  const without = await figuresWith({ ...process.env, PATH: dirname(process.execPath) })

  const names = ({ figures }: PartFigures): string[] => figures.map(({ contestant }) => contestant)
  const others = names(without)
  for (const other of [
    /^graphile-worker 0\.18\.0$/,
    /^pg-boss 12\.38\.0, work$/,
    /^pg-boss 12\.38\.0, fetch/,
  ])
    assert.ok(
      others.some((name) => other.test(name)),
      `${other.source} is not there`,
    )
  for (const { contestant, settings: told, guarantees } of whole.figures)
    assert.ok(told !== undefined && guarantees !== undefined, contestant)
  assert.match(without.notes.join(), /BullMQ is left out .*apt-get install redis-server/)
  assert.doesNotMatch([...others, ...without.floors.map(({ against }) => against)].join(), /BullMQ/)
  const bulls = names(whole).filter((name) => !others.includes(name))
  assert.deepEqual(bulls, findRedis() === undefined ? [] : ['BullMQ 6.7.0'])
  assert.equal(whole.floors.length - without.floors.length, bulls.length)
})

test('--list names every part, and starts nothing', async () => {
  const { code, stdout } = await bench('--list')
  assert.equal(code, 0)
  assert.deepEqual(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' ')[0]),
    PARTS.map(({ name }) => name),
  )
})

test('a run for people prints a table a part and a line a floor', async () => {
  const { stdout } = await bench('--rows', '100', '--rounds', '1', '--only', 'ingest')
  assert.match(stdout, /^\d+ cores .* load [\d.]+/)
  assert.match(stdout, /ingest: source to inbox/)
  assert.match(stdout, /(reached|MISSED): Tidemark \d+\.\d\d × bare keyset INSERT/)
  assert.doesNotMatch(stdout, /drain:/)
})

test('a part that does not exist is named', async () => {
  const { code, stderr } = await bench('--only', 'ingest,nonsense')
  assert.notEqual(code, 0)
  assert.match(stderr, /there is no part nonsense/)
})

test('ratios are of medians, and a floor is reached from its value on, a limit up to its', async () => {
  const heat = (perSecond: number): Measured => ({
    ms: 1,
    perSecond,
    nodeCpuUs: 0,
    serverCpuUs: null,
    walBytes: 0,
    commits: 0,
    updates: 0,
    hotShare: null,
  })
  const contestant = (name: string) => ({
    name,
    table: 't',
    prepare: () => Promise.reject(new Error('unused')),
  })
  const part = {
    name: 'p',
    title: 'p',
    messages: 1,
    contestants: [contestant('bare'), contestant('ours')],
    against: 'bare',
    floors: [
      { of: 'ours', against: 'bare', least: 0.5 },
      { of: 'ours', against: 'bare', least: 0.51 },
      { of: 'ours', against: 'one that is left out', least: 0.51 },
    ],
    limits: (speedOf: (contestant: string) => number) =>
      Promise.resolve([10, 9].map((most) => ({ of: 'speed', value: speedOf('bare') / 10, unit: '', most }))),
  }
  const heats = new Map([
    ['bare', [heat(100), heat(1000), heat(90)]],
    ['ours', [heat(50), heat(1), heat(2000)]],
  ])
  const { figures, floors, limits } = await figuresOf({ part, heats })
  assert.deepEqual(
    figures.map(({ median: speed, min, max, ratio }) => ({ speed, min, max, ratio })),
    [
      { speed: 100, min: 90, max: 1000, ratio: 1 },
      { speed: 50, min: 1, max: 2000, ratio: 0.5 },
    ],
  )
  assert.deepEqual(
    [...floors, ...limits].map(({ reached }) => reached),
    [true, false, true, false],
  )
})

test('the median of an even number lies between the middle two', () => {
  assert.equal(median([4, 1, 3, 2]), 2.5)
  assert.equal(median([7]), 7)
})
