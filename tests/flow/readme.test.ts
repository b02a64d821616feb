import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/* The README is true: its program is run as it stands there, and its tables name what exists. */

const root = join(import.meta.dirname, '../..')
const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** The only block of a language. */
function block(language: string): string {
  const found = [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))]
  assert.equal(found.length, 1, `one block of ${language}`)
  return found[0]?.[1] ?? ''
}

/** First cells of the rows of the table under a heading. */
function firstCells(heading: string): string {
  const section = readme.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  return [...section.matchAll(/^\| (`.+?) \|/gm)].map(([, cell]) => cell).join('\n')
}

describe('the README', () => {
  test('has a program that runs: its orders are packed, each once', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const pool = database.pool()
    await pool.query(block('sql'))
    const instance = await startInstance(t, { databaseUrl: database.url, config: block('ts') })
    await instance.said('ready')
    await pool.query(`INSERT INTO shop.orders (item) VALUES ('sugar')`)
    const packed = async (): Promise<string[]> => {
      const { rows } = await pool.query<{ item: string }>(
        `SELECT p.item FROM shop.parcels p JOIN service_ops.integration_inbox i ON i.message_id = p.order_id::text
          WHERE i.source = 'orders' AND i.status = 'DONE' AND i.attempts = 1 ORDER BY p.item`,
      )
      return rows.map(({ item }) => item)
    }
    await until('three parcels', async () => (await packed()).length === 3)
    assert.deepEqual(await packed(), ['cups', 'sugar', 'tea'])
    const verify = await tidemark(['verify'], { env: { DATABASE_URL: database.url } })
    assert.equal(verify.code, 0, verify.stdout)
    instance.kill('SIGTERM')
    assert.equal((await instance.exited).code, 0)
  })

  test('names the verbs that exist', async () => {
    const { stdout } = await tidemark(['--help'])
    const verbs = [...(stdout.split('Commands:')[1] ?? '').matchAll(/^ {2}(\w+)/gm)].map(([, verb]) => verb)
    const told = [...firstCells('Commands').matchAll(/^`(\w+)/gm)].map(([, verb]) => verb)
    assert.deepEqual(told.toSorted(), verbs.filter((verb) => verb !== 'help').toSorted())
  })

  test('names the settings that exist', () => {
    const source = readFileSync(join(root, 'src/config/settings.ts'), 'utf8')
    const exist = [...source.matchAll(/^ {4}([A-Z_]+): /gm)].map(([, name]) => name ?? '')
    assert.ok(exist.length > 20)
    const told = [...firstCells('Settings').matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name)
    const ofFly = (name: string): boolean => name.startsWith('FLY_')
    assert.deepEqual(told.toSorted(), exist.filter((name) => !ofFly(name)).toSorted())
  })

  test('has no number that the next migration makes untrue', () => {
    assert.doesNotMatch(readme, /\d+ migrations/)
  })

  test('names scripts that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    const told = [...readme.matchAll(/npm (?:run )?(start|test|(?<=run )\w+)/g)].map(([, name]) => name ?? '')
    assert.ok(told.length > 4)
    for (const name of told) assert.ok(name in scripts, name)
  })
})
