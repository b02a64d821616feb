import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import test from 'node:test'
import { cpuMs, rssMb } from '../../scripts/bench/process.ts'
import { EXISTING, startOf, startText, startVerdicts } from '../../scripts/bench/start/report.ts'
import type { StartResult } from '../../scripts/bench/start/report.ts'

const main = resolve(import.meta.dirname, '../../scripts/bench/main.ts')

test('start is the time of real processes, and ends with 1 above its limit alone', async () => {
  const args = [main, '--only', 'start', '--rounds', '1', '--json']
  const { code, stdout } = await new Promise<{ code: number; stdout: string }>((done) => {
    execFile(process.execPath, args, (error, out) =>
      done({ code: error === null ? 0 : Number(error.code), stdout: out }),
    )
  })
  const { parts } = JSON.parse(stdout) as { parts: [StartResult & { part: 'start' }] }
  const [{ figures, limit }] = parts
  assert.equal(figures.length, 5)
  for (const { contestant, min, median, max } of figures)
    assert.ok(min > 0 && median >= min && max >= median, contestant)
  // A process that answers before it could be there was not the one that was started.
  const [bare, ...others] = figures
  for (const { contestant, median } of others) assert.ok(median > (bare?.median ?? Infinity), contestant)
  assert.equal(limit.ms, figures.find(({ contestant }) => contestant === EXISTING)?.median)
  assert.equal(code, limit.reached ? 0 : 1)
})

test('the limit is of the median on an existing schema', () => {
  const started = (...times: number[]) => times.map((ms) => ({ ms, cpuMs: null }))
  const result = startOf(
    new Map([
      ['bare Node', started(30, 40, 50)],
      [EXISTING, started(900, 5_000, 1_000)],
    ]),
  )
  assert.deepEqual(startVerdicts(result), [
    { line: `reached: ${EXISTING}: 1000 ms (at most 1000 ms)`, reached: true },
  ])
  assert.match(startText(result), /3 rounds/)
  const [verdict] = startVerdicts(startOf(new Map([[EXISTING, started(1_001)]])))
  assert.equal(verdict?.reached, false)
})

test(
  'memory and CPU are read of a process that is there',
  { skip: process.platform !== 'linux' && 'there is no /proc' },
  () => {
    const mb = rssMb(process.pid) ?? 0
    assert.ok(mb > 10 && mb < 10_000, `${mb} MB`)
    assert.ok((cpuMs(process.pid) ?? 0) > 0)
    assert.equal(rssMb(-1), null)
    assert.equal(cpuMs(-1), null)
  },
)
