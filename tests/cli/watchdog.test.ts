import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { until } from '../support/until.ts'

const FIXTURE = resolve(import.meta.dirname, 'blocked.ts')

/** A watched process whose limit is four seconds, and that blocks its event loop when told to. */
function run(context: TestContext) {
  const child = spawn(process.execPath, [FIXTURE], { stdio: ['pipe', 'pipe', 'pipe'] })
  context.after(() => child.kill('SIGKILL'))
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = new Promise<NodeJS.Signals | null>((done) => child.on('close', (_, signal) => done(signal)))
  return {
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    say: (what: string) => child.stdin.write(`${what}\n`),
    said: (what: string) => until(`"${what}"`, () => stdout.includes(`${what}\n`)),
    stderr: () => stderr,
    ended,
  }
}

describe('a process whose event loop stands still', () => {
  test('for longer than its limit is killed, with a line that says so', async (context) => {
    const process = run(context)
    await process.said('ready')
    process.say('block for ever')
    assert.equal(await process.ended, 'SIGKILL')
    const line = JSON.parse(process.stderr()) as Record<string, unknown>
    assert.deepEqual(
      [
        line['event'],
        line['level'],
        line['service'],
        line['instance_id'],
        line['blocked_s'],
        line['limit_s'],
      ],
      ['event_loop_blocked', 'critical', 's', 'i', 4, 4],
    )
    assert.match(String(line['msg']), /^CRITICAL: the event loop has stood still for 4 s/)
  })

  test('for less than its limit lives, and so does one that was stopped for longer', async (context) => {
    const process = run(context)
    await process.said('ready')
    process.say('block for 900')
    await process.said('blocked for 900')
    process.kill('SIGSTOP')
    const stoppedAt = performance.now()
    await until('the limit to be over', () => performance.now() - stoppedAt > 6_000)
    process.kill('SIGCONT')
    process.say('block for 901')
    await process.said('blocked for 901')
    process.say('end')
    assert.equal(await process.ended, null)
    assert.equal(process.stderr(), '')
  })
})
