import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { openBed } from '../../scripts/bench/line/bed.ts'
import type { Step } from '../../scripts/bench/line/bed.ts'
import type { LineFigures } from '../../scripts/bench/line/line.ts'
import { findPeak, growthOf, isHeld } from '../../scripts/bench/line/peak.ts'
import { soakLimits } from '../../scripts/bench/line/soak.ts'
import type { Sample, SoakFigures } from '../../scripts/bench/line/soak.ts'
import { openWriters } from '../../scripts/bench/line/writer.ts'
import type { LimitResult } from '../../scripts/bench/report.ts'
import type { SideFigures } from '../../scripts/bench/scale/sides.ts'
import { startBenchServer } from '../../scripts/bench/server.ts'

const main = resolve(import.meta.dirname, '../../scripts/bench/main.ts')
const run = promisify(execFile)

/** Short runs say nothing of speed: they may miss a limit, which is 1, and must end with 0 when they do not. */
async function bench<Figures>(...args: string[]): Promise<Figures[]> {
  const { code, stdout, stderr } = await run(process.execPath, [main, '--json', ...args]).then(
    (ended) => ({ code: 0, ...ended }),
    // execFile rejects with these three fields when the program ended with another code than 0.
    (error: unknown) => error as { code: number; stdout: string; stderr: string },
  )
  assert.ok(code === 0 || code === 1, stderr)
  assert.notEqual(stdout, '', stderr)
  const { parts } = JSON.parse(stdout) as { parts: (Figures & Judged)[] }
  const limits = parts.flatMap((part) => [
    ...(part.limits ?? []),
    ...(part.parts ?? []).flatMap((one) => one.floors),
  ])
  assert.equal(
    code === 1,
    limits.some(({ reached }) => !reached),
  )
  return parts
}

interface Judged {
  readonly limits?: readonly LimitResult[]
  readonly parts?: readonly { readonly floors: readonly { readonly reached: boolean }[] }[]
}

test('the line is measured at four parts of the highest rate that it holds', async () => {
  const [line] = await bench<LineFigures>('--only', 'line', '--quick', '--rows', '300')
  assert.ok(line !== undefined && line.workedOff > 0)
  const held = line.peak.tries.filter((one) => one.isHeld)
  assert.equal(line.peak.rate, Math.max(...held.map(({ rate }) => rate)))
  assert.deepEqual(
    line.steps.map(({ share }) => share),
    [0.25, 0.5, 0.75, 0.9],
  )
  for (const { share, rate, rows, p50Ms, p95Ms, p99Ms, maxMs } of line.steps) {
    assert.equal(rate, share * line.peak.rate)
    assert.ok(rows > 0 && p50Ms > 0 && p95Ms >= p50Ms && p99Ms >= p95Ms && maxMs >= p99Ms)
  }
  assert.ok(line.rows >= 300 + line.steps.reduce((sum, { rows }) => sum + rows, 0))
})

test('a soak has a sample a slice, with what gathered until then', async () => {
  const [soak] = await bench<SoakFigures>('--only', 'soak', '--quick', '--rows', '300', '--minutes', '0.1')
  assert.ok(soak !== undefined && soak.samples.length >= 8)
  assert.equal(soak.rate, soak.peak / 2)
  assert.ok(
    soak.samples.some(({ perSecond, p50Ms, p99Ms }) => perSecond > 0 && p50Ms !== null && p99Ms !== null),
  )
  for (const { heapMb, liveRows } of soak.samples) assert.ok(heapMb > 0 && liveRows > 0)
})

test('what a full inbox and a held edge cost is told beside the same without', async () => {
  const [scale, reread, held, handlers] = await bench<
    Partial<{
      parts: { figures: { ratio: number }[] }[]
      us: number[]
      bareUs: number[]
      figures: SideFigures[]
    }>
  >('--only', 'scale,reread,held,handlers', '--quick', '--rows', '200', '--rounds', '1', '--finished', '2000')
  assert.deepEqual(
    scale?.parts?.map(({ figures }) => figures.length),
    [2, 2],
  )
  assert.ok([...(reread?.us ?? [0]), ...(reread?.bareUs ?? [0])].every((us) => us > 0))
  for (const part of [held, handlers]) {
    assert.equal(part?.figures?.length, 2)
    for (const { p50Ms, p99Ms, steps } of part.figures)
      assert.ok(steps.length === 1 && p50Ms > 0 && p99Ms >= p50Ms)
  }
})

test('a message that had a second claim, and a row that has none, are faults of the line', async (t) => {
  const server = await startBenchServer()
  let closeBed = (): Promise<void> => Promise.resolve()
  t.after(async () => {
    await closeBed()
    await server.end()
  })
  const bed = await openBed(server, { prefilled: 20 })
  closeBed = () => bed.close()
  assert.equal((await bed.step(100, 1)).rows, 100)
  assert.equal(await bed.check(), 120)
  closeBed = () => Promise.resolve()
  await bed.close()
  const change = async (text: string, undo: string): Promise<void> => {
    await server.query(text)
    await assert.rejects(bed.check(), /not each row was done once/)
    await server.query(undo)
    assert.equal(await bed.check(), 120)
  }
  const one = "WHERE source = 'bench_line' AND message_id = '7'"
  await change(
    `UPDATE service_ops.integration_inbox SET claim = 2 ${one}`,
    `UPDATE service_ops.integration_inbox SET claim = 1 ${one}`,
  )
  await change(
    `UPDATE service_ops.integration_inbox SET message_id = 'seven' ${one}`,
    `UPDATE service_ops.integration_inbox SET message_id = '7' WHERE message_id = 'seven'`,
  )
})

test('writers that are held up are late, and write no row less', async (t) => {
  const server = await startBenchServer()
  const closing = [() => server.end()]
  t.after(async () => {
    for (const close of closing.toReversed()) await close()
  })
  await server.query('CREATE TABLE bench.line (id bigint GENERATED ALWAYS AS IDENTITY, payload jsonb)')
  const writers = await openWriters(server)
  closing.push(() => writers.close())
  const free = await writers.write(500, 0.2)
  assert.equal(free.rows, 100)
  const locker = new Client({ connectionString: server.url })
  await locker.connect()
  closing.push(() => locker.end())
  await locker.query('BEGIN; LOCK TABLE bench.line')
  const writing = writers.write(500, 0.2)
  // All writers wait for the lock: everything that fell due meanwhile is late.
  for (let waiting = 0; waiting < 4;) {
    const [found] = await server.query<{ n: number }>(
      `SELECT count(*)::integer AS n FROM pg_catalog.pg_stat_activity WHERE application_name = 'bench-writer' AND wait_event_type = 'Lock'`,
    )
    waiting = found?.n ?? 0
  }
  await locker.query('SELECT pg_sleep(0.5); COMMIT')
  const { rows, late99Ms, perSecond } = await writing
  assert.equal(rows, 100)
  assert.ok(late99Ms > 250, `${late99Ms} ms late`)
  assert.ok(perSecond < 0.9 * 500, `${perSecond} a second`)
  const [found] = await server.query<{ n: number }>('SELECT count(*)::integer AS n FROM bench.line')
  assert.equal(found?.n, 200)
})

/** As the line would tell of a step, when it does 1,000 a second. */
const stepOf = (rate: number): Step => ({
  rate,
  written: rate,
  openFirst: 5,
  openLast: Math.max(5, (rate - 1_000) * 10),
  late99Ms: 0,
  perSecond: rate,
  rows: 1,
  p50Ms: 1,
  p95Ms: 1,
  p99Ms: 1,
  maxMs: 1,
  meanMs: 1,
  instanceCpuUs: null,
})

test('the peak is the highest rate tried at which the backlog does not grow', async () => {
  const bed = { settle: () => Promise.resolve(), step: (rate: number) => Promise.resolve(stepOf(rate)) }
  const options = { tries: 8, seconds: 1, onTry: () => undefined }
  for (const highest of [1_200, 20_000]) {
    const { rate, tries } = await findPeak(bed, highest, options)
    assert.ok(rate > 960 && rate < 1_020, `${rate}`)
    assert.ok(tries.some((one) => !one.isHeld))
  }
  // Far below the range that was looked through first.
  const { rate } = await findPeak(bed, 60_000, { ...options, tries: 2 })
  assert.ok(rate > 400 && rate <= 1_020, `${rate}`)
  await assert.rejects(
    findPeak(
      { ...bed, step: (asked) => Promise.resolve({ ...stepOf(asked), written: asked / 2 }) },
      1_000,
      options,
    ),
    /does not even hold/,
  )
})

test('a backlog is what grows, and a writer that is behind proves nothing', () => {
  const step = { rate: 1_000, written: 1_000, openFirst: 200, openLast: 300 }
  assert.equal(growthOf(step), 1.5)
  assert.ok(isHeld(step))
  assert.ok(!isHeld({ ...step, openLast: 301 }))
  assert.ok(
    isHeld({ ...step, openFirst: 0, openLast: 150 }),
    'what comes in a tenth of a second is no backlog',
  )
  assert.ok(!isHeld({ ...step, written: 970 }))
})

test('a soak misses what it loses, what dies, what swells and what leaks', () => {
  const sample: Sample = {
    perSecond: 1_000,
    p50Ms: 1,
    p99Ms: 2,
    rssMb: 150,
    deadRows: 5_000,
    liveRows: 1_000_000,
    heapMb: 400,
    indexMb: 100,
  }
  const missedWith = (last: Partial<Sample>): number[] => {
    const samples = Array.from({ length: 12 }, (_, n) => (n < 8 ? sample : { ...sample, ...last }))
    return soakLimits(samples).flatMap(({ reached }, n) => (reached ? [] : [n]))
  }
  assert.deepEqual(missedWith({}), [])
  assert.deepEqual(missedWith({ perSecond: 910, deadRows: 90_000, heapMb: 440, rssMb: 160 }), [])
  assert.deepEqual(missedWith({ perSecond: 890 }), [0])
  assert.deepEqual(missedWith({ deadRows: 110_000 }), [1])
  assert.deepEqual(missedWith({ heapMb: 460 }), [2])
  assert.deepEqual(missedWith({ rssMb: 170 }), [3])
  assert.throws(() => soakLimits([sample, sample]), /no soak/)
})
