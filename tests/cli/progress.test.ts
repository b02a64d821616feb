import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { createProgress } from '../../src/cli/progress.ts'
import type { ProgressStream } from '../../src/cli/progress.ts'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import { hasTerminal, onTerminal } from './screen.ts'

const noTerminal = (await hasTerminal()) ? false : 'there is no script of util-linux here'

function streamOf(isTTY: boolean, columns = 80) {
  const pieces: string[] = []
  const stream: ProgressStream = {
    isTTY,
    columns,
    write: (text: string | Uint8Array) => pieces.push(String(text)) > 0,
  }
  return { stream, pieces }
}

describe('progress', () => {
  test('of what is over soon is not shown, on a terminal or elsewhere', () => {
    for (const isTerminal of [true, false]) {
      const { stream, pieces } = streamOf(isTerminal)
      const progress = createProgress(stream)
      progress.show(0.5, 'half')
      progress.end()
      assert.deepEqual(pieces, [])
    }
  })

  test('on a terminal is one line that is written over, never longer than the terminal, and gone at the end', async () => {
    const { stream, pieces } = streamOf(true, 50)
    const progress = createProgress(stream)
    progress.show(0.25, 'a step with a very long name that no terminal of this width has the room for')
    await until('two writes', () => pieces.length >= 2)
    for (const piece of pieces) {
      assert.ok(piece.startsWith('\r\u001B[K'))
      assert.ok(stripVTControlCharacters(piece).trim().length < 50)
      assert.match(piece, /█{6}░{18}.* 25 % {2}a step/)
    }
    progress.note('this stays')
    assert.deepEqual(pieces.slice(-2), ['\r\u001B[K', 'this stays\n'])
    await until('it to be drawn again', () => pieces.at(-1)?.includes('25 %'))
    progress.end()
    assert.equal(pieces.at(-1), '\r\u001B[K')
    progress.show(1, 'more')
    assert.equal(pieces.at(-1), '\r\u001B[K')
  })

  test('elsewhere is plain lines two seconds apart, and the last step is among them', async () => {
    const { stream, pieces } = streamOf(false)
    const startedAt = performance.now()
    const times: number[] = []
    const { write } = stream
    const progress = createProgress({
      ...stream,
      write: (text: string | Uint8Array) => {
        times.push(performance.now() - startedAt)
        return write(String(text))
      },
    })
    let n = 0
    const steps = setInterval(() => progress.show((n += 1) / 1000, `step ${n}`), 50)
    await until('two lines', () => pieces.length >= 2)
    clearInterval(steps)
    progress.show(undefined, 'the last step')
    await until('the last one', () => pieces.length >= 3)
    progress.end()
    assert.match(pieces[0] ?? '', /^ {2}\d %  step \d+.*\n$/)
    assert.match(pieces[2] ?? '', /^the last step, \d+(\.\d)? s\n$/)
    const gaps = times.map((time, i) => time - (times[i - 1] ?? 0))
    assert.ok(
      gaps.every((gap) => gap >= 1_990),
      JSON.stringify(gaps),
    )
  })
})

const CONFIG = `export default {
  pollers: { orders: { source: { table: 'shop_orders', id: 'id', createdAt: 'created_at' }, every: '1h', startFrom: 'beginning' } },
}`

/** A source that nobody can read until `free`, so that a replay takes as long as that. */
async function slowReplay(t: Scope) {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(`
    CREATE TABLE shop_orders (id bigint PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON shop_orders (created_at, id);
    INSERT INTO shop_orders SELECT generate_series(1, 1200);
    INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release) VALUES (1, 'orders', 'poller', true, '', '');
    INSERT INTO service_ops.integration_poll_watermark (id, poller, edge, holder, term, pass)
    VALUES (1, 'orders', now() + interval '1 hour', gen_random_uuid(), 1, 1)`)
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-progress-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const config = join(folder, 'tidemark.config.mjs')
  await writeFile(config, CONFIG)
  const holder = await database.client()
  await holder.query('BEGIN; LOCK TABLE service_ops.background_task IN ACCESS EXCLUSIVE MODE')
  return {
    url: database.url,
    args: [
      'replay',
      'orders',
      '--config',
      config,
      '--from',
      'beginning',
      '--to',
      '2100-01-01T00:00:00Z',
      '--apply',
    ],
    free: () => holder.query('COMMIT'),
  }
}

describe('a replay that takes long', () => {
  test(
    'on a terminal has a line that is written over, and its result alone at the end',
    { skip: noTerminal },
    async (t) => {
      const { url, args, free } = await slowReplay(t)
      const terminal = onTerminal(t, args, { DATABASE_URL: url, DB_LOCK_TIMEOUT_SECONDS: '60' })
      await terminal.writes(/\r\u001B\[K.*orders: looking/)
      await free()
      assert.equal(await terminal.ended, 0)
      assert.match(terminal.written, /1200 rows taken in/)
    },
  )

  test('elsewhere says so on stderr; its document has stdout for itself', async (t) => {
    const { url, args, free } = await slowReplay(t)
    const bin = resolve(import.meta.dirname, '../../bin/tidemark.js')
    const child = spawn(process.execPath, [bin, ...args, '--json'], {
      env: { PATH: process.env['PATH'] ?? '', DATABASE_URL: url, DB_LOCK_TIMEOUT_SECONDS: '60' },
    })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const ended = new Promise<number | null>((done) => child.on('close', done))
    t.after(async () => {
      child.kill('SIGKILL')
      await ended
    })
    await until('a line', () => stderr.includes('\n'))
    await free()
    assert.equal(await ended, 0)
    assert.match(stderr, /^orders: looking at its source, (\d\.\d s|\d+ ms)\n/)
    assert.ok(!stderr.includes('\u001B') && !stderr.includes('\r'))
    assert.equal((JSON.parse(stdout) as { inserted: number }).inserted, 1200)
  })
})
