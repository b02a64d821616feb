import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { testServerUrl } from '../support/database.ts'

/* The examples are programs that people copy: they run, they import what people can import, and the docs show them as they are. */

const root = join(import.meta.dirname, '../..')
const examples = globSync('examples/*.ts', { cwd: root }).sort()
const textOf = (file: string): string => readFileSync(join(root, file), 'utf8')

/** Runs what `npm run examples` runs. */
function run(env: Readonly<Record<string, string>>): Promise<{ code: number | null; output: string }> {
  const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> }
  const child = spawn('sh', ['-c', scripts['examples'] ?? 'false'], {
    cwd: root,
    env: { PATH: process.env['PATH'] ?? '', ...env },
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, output })))
}

describe('the examples', () => {
  test('pass', async () => {
    const { code, output } = await run({ TIDEMARK_TEST_DATABASE_URL: await testServerUrl() })
    assert.equal(code, 0, output)
    const tests = examples.filter((file) => file.endsWith('.test.ts')).map(textOf)
    const { length: count } = [...tests.join('\n').matchAll(/^test\(/gm)]
    assert.match(output, new RegExp(`pass ${count}$`, 'm'))
  })

  test('import only what a project has', () => {
    for (const file of examples.filter((name) => name !== 'examples/checkout.ts')) {
      const imports = [...textOf(file).matchAll(/from '([^']+)'/g)].map(([, name]) => name ?? '')
      const own = /^(node:.+|pg|tidemark|tidemark\/testing|\.\/shop\.ts)$/
      assert.deepEqual(
        imports.filter((name) => !own.test(name)),
        [],
        file,
      )
    }
  })

  test('are what docs/testing.md shows', () => {
    const plain = (text: string): string => text.replaceAll(/\s+/g, ' ').trim()
    const all = examples.map((file) => plain(textOf(file)))
    const blocks = [...textOf('docs/testing.md').matchAll(/^```ts\n(.*?)^```/gms)].map(
      ([, text]) => text ?? '',
    )
    assert.ok(blocks.length >= 6)
    for (const block of blocks)
      assert.ok(
        all.some((text) => text.includes(plain(block))),
        block,
      )
  })
})
