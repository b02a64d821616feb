import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'
import { blocksOf, ROOT } from './markdown.ts'

/* docs/start.md from its second step on, command by command; README's test runs the first. */
test('five minutes: letters are stamped, one fails until its cause is mended, and every command does what it says', async (t) => {
  const blocks = blocksOf(readFileSync(join(ROOT, 'docs/start.md'), 'utf8'))
  const of = (language: string): string[] =>
    blocks.filter((block) => block.language === language).map(({ text }) => text)
  const database = await createDatabase(t)
  const pool = database.pool()
  const [tables = '', mended = ''] = of('sql')
  await pool.query(tables)
  const [config = ''] = of('ts')
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-five-'))
  t.after(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'tidemark.config.mjs'), config)
  const env = { DATABASE_URL: database.url, PORT: '0', HOST: '127.0.0.1' }
  const run = async (line: string): Promise<string> => {
    const { code, stdout, stderr } = await tidemark(line.replace('npx tidemark ', '').split(' '), {
      env,
      cwd: folder,
    })
    // doctor may know something of a test's server.
    assert.ok(code === 0 || line.endsWith('doctor'), `${line}: ${stdout}${stderr}`)
    return stdout
  }
  const instance = await startInstance(t, { databaseUrl: database.url, config })
  const stamped = async (towns: string): Promise<boolean> => {
    const { rows } = await pool.query<{ towns: string | null }>(
      `SELECT string_agg(town, ', ' ORDER BY town) AS towns FROM post.stamped`,
    )
    return rows[0]?.towns === towns
  }
  await until('two letters to be stamped', () => stamped('Delft, Lund'))
  const dead = `SELECT FROM service_ops.integration_inbox WHERE status = 'DEAD'`
  await until('the third to be given up', async () => (await pool.query(dead)).rowCount === 1)

  const commands = of('sh').map((text) => text.trim().split('\n'))
  const [, looking = [], starting = [], failed = [], again = [], more = []] = commands
  assert.deepEqual(starting, ['npx tidemark start'])
  for (const line of looking) assert.notEqual(await run(line), '')
  const [listed = '', shown = ''] = await Promise.all(failed.map(run))
  assert.match(listed, /letters .*DEAD .*2 of 2/)
  assert.match(shown, /"town": ?"Atlantis"/)
  await pool.query(mended)
  for (const line of again) await run(line)
  await until('the third to be stamped', () => stamped('Atlantis, Delft, Lund'))
  for (const line of more) await run(line)
  await pool.query(`INSERT INTO post.letters (town) VALUES ('Visby')`)
  await until('a letter that wakes it', () => stamped('Atlantis, Delft, Lund, Visby'))
  instance.kill('SIGTERM')
  assert.equal((await instance.exited).code, 0)
})
