import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import { cropped, frameOf } from '../../src/cli/watch.ts'
import { createDatabase } from '../support/database.ts'
import { relay } from '../support/relay.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import { hasTerminal, onTerminal } from './screen.ts'
import { tidemark } from './tidemark.ts'

const noTerminal = (await hasTerminal()) ? false : 'there is no script of util-linux here'

const ORDERS = `
  INSERT INTO service_ops.background_task (id, task_name, kind, led, interval_seconds, source_table, config_hash, release)
  VALUES (1, 'orders', 'poller', true, 10, 'shop.orders', 'x', '1')`

describe('on a terminal', { skip: noTerminal }, () => {
  test('--watch draws over what it drew, in colours, shows what changes, and ends by Ctrl-C with 0 and the last look', async (t) => {
    const database = await createDatabase(t)
    const terminal = onTerminal(t, ['status', '--watch', '0.2'], { DATABASE_URL: database.url })
    await terminal.writes(/nothing has run here yet/)
    await database.pool().query(ORDERS)
    await terminal.writes(/1 thing needs a person: no instance is running/)
    terminal.type('\u0003')
    assert.equal(await terminal.ended, 0)
    const { written } = terminal
    assert.match(written, /^\u001B\[\?1049h\u001B\[\?25l/, 'a screen of its own, without a cursor')
    assert.ok(written.split('\u001B[?2026h\u001B[H').length > 2, 'each look begins at the top')
    assert.match(written, /\u001B\[31m1 thing needs a person/)
    const [, left = ''] = written.split('\u001B[?25h\u001B[?1049l')
    assert.match(left, /no instance is running[\s\S]*Pollers[\s\S]*orders/, 'the last look is left behind')
  })

  test('NO_COLOR is respected', async (t) => {
    const { url } = await createDatabase(t)
    const terminal = onTerminal(t, ['status', '--watch', '0.2'], { DATABASE_URL: url, NO_COLOR: '1' })
    await terminal.writes(/nothing has run here yet/)
    terminal.type('\u0003')
    assert.equal(await terminal.ended, 0)
    assert.doesNotMatch(terminal.written, /\u001B\[3[0-9]m/)
  })

  test('a database that goes away is shown above what was seen last, until it is back', async (t) => {
    const way = await relay(t, (await createDatabase(t)).url)
    await way.open()
    const terminal = onTerminal(t, ['verify', '--watch', '0.2'], { DATABASE_URL: way.url })
    await terminal.writes(/invariants hold/)
    await way.cut()
    await terminal.writes(/the database is away[\s\S]*As it was[\s\S]*invariants hold/)
    const before = terminal.written.length
    await way.open()
    await until('a look at what is there', () =>
      /All is well(?![\s\S]*the database is away)/.test(terminal.written.slice(before)),
    )
    terminal.type('\u0003')
    assert.equal(await terminal.ended, 0)
  })

  test('a database that falls silent is said, above what is old by now, and Ctrl-C ends it all the same', async (t) => {
    const way = await relay(t, (await createDatabase(t)).url)
    await way.open()
    const terminal = onTerminal(t, ['status', '--watch', '0.2'], { DATABASE_URL: way.url })
    await terminal.writes(/nothing has run here yet/)
    way.freeze()
    await terminal.writes(/No answer for [3-9][\s\S]*As it was[\s\S]*nothing has run here yet/)
    terminal.type('\u0003')
    assert.equal(await terminal.ended, 0)
  })
})

const BIN = resolve(import.meta.dirname, '../../bin/tidemark.js')

function lines(scope: Scope, args: readonly string[], databaseUrl: string) {
  const child = spawn(process.execPath, [BIN, ...args], {
    env: { PATH: process.env['PATH'] ?? '', DATABASE_URL: databaseUrl },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const read: string[] = []
  createInterface(child.stdout).on('line', (line) => void read.push(line))
  const closed = new Promise<number | null>((done) => child.on('close', done))
  scope.after(async () => {
    child.kill('SIGKILL')
    await closed
  })
  return {
    child,
    read,
    /** Its exit code, once it has ended. */
    ended: async () => {
      await until(`${args.join(' ')} to end`, () => child.exitCode !== null || child.signalCode !== null)
      return closed
    },
  }
}

describe('elsewhere', () => {
  test('--watch --json is one document a line, also of a database that is away, and SIGINT ends it with 0', async (t) => {
    const database = await createDatabase(t)
    const { child, read, ended } = lines(t, ['status', '--json', '--watch', '0.1'], database.url)
    await until('three documents', () => read.length >= 3)
    child.kill('SIGINT')
    assert.equal(await ended(), 0)
    for (const line of read) assert.ok('verdict' in (JSON.parse(line) as object))

    const away = lines(t, ['status', '--json', '--watch', '0.1'], 'postgres://nobody@127.0.0.1:1/none')
    await until('two documents', () => away.read.length >= 2)
    away.child.kill('SIGINT')
    assert.equal(await away.ended(), 0)
    const { verdict } = JSON.parse(away.read[0] ?? '') as { verdict: { sentence: string } }
    assert.match(
      verdict.sentence,
      /the database is away: 127\.0\.0\.1:1\/none \(DATABASE_URL\): connect ECONN/,
    )
  })

  test('--watch prints one look after the other, without codes, and ends when nobody reads any more', async (t) => {
    const { url } = await createDatabase(t)
    const { child, read, ended } = lines(t, ['status', '--watch', '0.1'], url)
    await until('two looks', () => read.filter((line) => line.startsWith('All is well')).length >= 2)
    assert.ok(read.every((line) => !line.includes('\u001B')))
    child.stdout.destroy()
    assert.equal(await ended(), 0)
  })

  test('an interval that is none is a usage error', async () => {
    const { code, stderr } = await tidemark(['status', '--watch', 'soon'])
    assert.equal(code, 64)
    assert.match(stderr, /number of seconds/)
  })
})

describe('a frame', () => {
  test('has what fits, and says how much does not', () => {
    const text = Array.from({ length: 9 }, (_, i) => `line ${i + 1}`).join('\n')
    const whole = frameOf(text, 40, 80, 2)
    assert.match(whole, /line 9/)
    const part = frameOf(text, 8, 80, 2)
    assert.match(part, /line 5/)
    assert.doesNotMatch(part, /line 6/)
    assert.match(part, /4 more lines/)
    assert.equal(part.split('\r\n').length, 8)
  })

  test('cuts a line at the width of the terminal, and not in a colour', () => {
    assert.equal(cropped('abcdef', 4), 'abcd')
    assert.equal(cropped('abcd', 4), 'abcd')
    assert.equal(cropped('\u001B[31mabcdef\u001B[39m', 4), '\u001B[31mabcd\u001B[0m')
    assert.equal(cropped('\u001B[31mabcd\u001B[39m', 4), '\u001B[31mabcd\u001B[39m')
    assert.equal(cropped('añ😀de', 3), 'añ😀')
  })
})
