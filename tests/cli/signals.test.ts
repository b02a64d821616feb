import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { until } from '../support/until.ts'

const FIXTURE = resolve(import.meta.dirname, 'stoppable.ts')

function run(context: TestContext, how: string) {
  const child = spawn(process.execPath, [FIXTURE, how], { stdio: ['ignore', 'pipe', 'pipe'] })
  context.after(() => child.kill('SIGKILL'))
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const code = new Promise<number | null>((done) => child.on('close', done))
  return {
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    said: (step: string) => until(`"${step}"`, () => stdout.includes(`${step}\n`)),
    steps: () => stdout.trim().split('\n'),
    stderr: () => stderr,
    code,
  }
}

describe('a running process', () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    test(`drains at ${signal} and exits 0`, async (context) => {
      const process = run(context, 'runs')
      await process.said('ready')
      process.kill(signal)
      await process.said(`stop ${signal}`)
      process.kill('SIGUSR2')
      assert.equal(await process.code, 0)
      assert.deepEqual(process.steps(), ['starting', 'ready', `stop ${signal}`])
    })
  }

  test('at a second signal gives its work back and exits by that signal', async (context) => {
    for (const [second, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const process = run(context, 'runs')
      await process.said('ready')
      process.kill('SIGTERM')
      await process.said('stop SIGTERM')
      process.kill(second)
      assert.equal(await process.code, code)
      assert.equal(process.steps().at(-1), 'abort')
    }
  })

  test('takes the two signals of one Ctrl-C for one', async (context) => {
    const process = run(context, 'is told twice')
    await process.said('ready')
    process.kill('SIGINT')
    await process.said('signalled')
    process.kill('SIGUSR2')
    assert.equal(await process.code, 0)
    assert.deepEqual(process.steps(), ['starting', 'ready', 'stop SIGINT', 'signalled'])
  })

  test('that throws where nobody catches says CRITICAL, gives nothing back unburned, and exits 1', async (context) => {
    const process = run(context, 'crashes')
    assert.equal(await process.code, 1)
    // What it ran is taken back as from the dead, and so costs an attempt.
    assert.ok(!process.steps().includes('abort'))
    const line = JSON.parse(process.stderr()) as Record<string, unknown>
    assert.deepEqual([line['event'], line['class']], ['crashed', 'SyntaxError'])
    assert.match(String(line['msg']), /^CRITICAL: /)
  })

  test('that somebody’s code ends with process.exit(0) says CRITICAL and exits 1, so that it is started again', async (context) => {
    for (const [given, seen] of [
      [0, 1],
      [7, 7],
    ] as const) {
      const process = run(context, `exits ${given}`)
      assert.equal(await process.code, seen)
      const line = JSON.parse(process.stderr()) as Record<string, unknown>
      assert.deepEqual([line['event'], line['level']], ['crashed', 'critical'])
      assert.ok(String(line['msg']).includes(`process.exit(${given})`), String(line['msg']))
    }
  })

  test('whose drain fails exits 1', async (context) => {
    const process = run(context, 'drains badly')
    await process.said('ready')
    process.kill('SIGTERM')
    await process.said('stop SIGTERM')
    process.kill('SIGUSR2')
    assert.equal(await process.code, 1)
    assert.match(process.stderr(), /drain_failed/)
  })
})

describe('a starting process', () => {
  test('that fails says why and exits 1', async (context) => {
    const process = run(context, 'fails')
    assert.equal(await process.code, 1)
    assert.match(process.stderr(), /CRITICAL: start failed: RangeError: no luck/)
  })

  test('that throws where nobody catches exits 1, and greets nobody', async (context) => {
    const process = run(context, 'crashes while it starts')
    assert.equal(await process.code, 1)
    assert.match(process.stderr(), /"event":"crashed"/)
    assert.deepEqual(process.steps(), ['starting'])
  })

  test('drains what it has at a signal, and greets nobody', async (context) => {
    const process = run(context, 'hangs')
    await process.said('starting')
    process.kill('SIGTERM')
    await process.said('stop SIGTERM')
    process.kill('SIGUSR2')
    assert.equal(await process.code, 0)
    assert.deepEqual(process.steps(), ['starting', 'stop SIGTERM'])
  })
})
