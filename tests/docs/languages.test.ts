import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { findOnPath } from '../support/program.ts'
import { newSecret } from '../support/receiver.ts'
import { until } from '../support/until.ts'
import { blocksOf, ROOT } from './markdown.ts'

const python = findOnPath('python3')
const blocks = blocksOf(readFileSync(join(ROOT, 'docs/languages.md'), 'utf8'))
const of = (language: string): string[] =>
  blocks.filter((block) => block.language === language).map(({ text }) => text)

test(
  'the receiver in Python of docs/languages.md stamps each letter once, whatever comes twice or from others',
  { skip: python === undefined && 'no python3 here' },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-python-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const [receiver = '', sender = ''] = of('python')
    writeFileSync(join(folder, 'receiver.py'), receiver)
    writeFileSync(join(folder, 'sender.py'), sender)
    const secret = newSecret()
    const run = (file: string, env: Record<string, string>) => {
      const child = spawn(python ?? '', [file], {
        cwd: folder,
        env: { PATH: process.env['PATH'] ?? '', ...env },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      t.after(() => void child.kill('SIGKILL'))
      return child
    }
    const listening = run('receiver.py', { HOOK_SECRET: secret, PORT: '0' })
    const { value } = (await createInterface(listening.stdout)[Symbol.asyncIterator]().next()) as {
      value: string
    }
    const url = `http://127.0.0.1:${value.replace('listening on ', '')}/letters`

    const database = await createDatabase(t)
    const pool = database.pool()
    await pool.query(`
      CREATE TABLE letters (id int PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), town text);
      INSERT INTO letters (id, town) SELECT i, 'town ' || i FROM generate_series(1, 50) i`)
    const config = (of('ts')[0] ?? '')
      .replace("every: '5s'", "every: '1s'")
      .replace('processors:', 'intakes: { parcels: {} },\n  processors:')
      .replace("from: 'letters'", "from: ['letters', 'parcels'], maxAttempts: 2")
    const instance = await startInstance(t, {
      databaseUrl: database.url,
      config,
      env: { HOOK_URL: url, HOOK_SECRET: secret, INTAKE_TOKEN: 'a-token-of-more-than-16' },
    })
    await instance.said('ready')
    const settled = async (status: string, count: number): Promise<boolean> => {
      const text = 'SELECT FROM service_ops.integration_inbox WHERE status = $1'
      return (await pool.query(text, [status])).rowCount === count
    }
    await until('every letter to be done', () => settled('DONE', 50))

    const sent = run('sender.py', { TIDEMARK_URL: instance.address, INTAKE_TOKEN: 'a-token-of-more-than-16' })
    const said = await createInterface(sent.stdout)[Symbol.asyncIterator]().next()
    assert.match(String(said.value), /^202 .*"accepted":1/)
    await until('what came by the intake', () => settled('DONE', 51))
    // A letter without a town is none: 422, and DEAD at once.
    await pool.query('INSERT INTO letters (id, town) VALUES (51, NULL)')
    await until('it to be dead', () => settled('DEAD', 1))

    // As if the answer had been lost: the same comes again.
    const body = '{"town":"Visby"}'
    for (const time of [1, 2]) {
      const at = new Date()
      const headers = {
        'webhook-id': 'again',
        'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign('again', at, body),
      }
      assert.equal((await fetch(url, { method: 'POST', headers, body })).status, 204, `time ${time}`)
    }
    assert.equal((await fetch(url, { method: 'POST', body: '{"town":"Atlantis"}' })).status, 401)
    instance.kill('SIGTERM')
    assert.equal((await instance.exited).code, 0)
    const done = new DatabaseSync(join(folder, 'done.db'))
    const rows = done.prepare('SELECT count(*) AS n, count(DISTINCT town) AS towns FROM done').get()
    done.close()
    assert.deepEqual({ ...rows }, { n: 52, towns: 52 })
  },
)
