import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { readSettings } from '../../src/config/settings.ts'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'

/* What the pages for operators tell them to type: queries run, verbs and flags exist, codes and limits are the program's own. */

const ROOT = join(import.meta.dirname, '../..')
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8')
const PAGES = ['docs/operations.md', 'docs/fly.md', 'docs/alerts.md'] as const

/** Code within lines: what stands in tables and sentences. */
function spans(page: string): string[] {
  return [...page.replaceAll(/^```.*?^```/gms, '').matchAll(/`([^`\n]+)`/g)].map(([, code]) => code ?? '')
}

describe('the pages for operators', () => {
  test('have queries that run as they stand there', async (t) => {
    const pool = (await createDatabase(t)).pool()
    for (const file of PAGES) {
      const queries = spans(read(file)).filter((code) => code.startsWith('SELECT '))
      assert.ok(queries.length > 1, file)
      for (const query of queries) {
        // Where a page says PID, a person puts one in; that of nobody ends nobody.
        const answer = pool.query(query.replaceAll('PID', '0'))
        await assert.doesNotReject(answer, `${file}: ${query}`)
      }
    }
  })

  test('name verbs and flags that exist', async () => {
    const calls = PAGES.flatMap((file) => [...read(file).matchAll(/npx tidemark (\w+)((?:[^`\n"#]| #)*)/g)])
    const flags = new Map<string, Set<string>>()
    for (const [, verb = '', rest = ''] of calls) {
      const told = flags.get(verb) ?? new Set()
      for (const [flag] of rest.matchAll(/--[a-z-]+/g)) told.add(flag)
      flags.set(verb, told)
    }
    assert.ok(flags.size > 6)
    const { stdout: all } = await tidemark(['--help'])
    for (const [verb, told] of flags) {
      assert.match(all, new RegExp(`^ {2}${verb}\\b`, 'm'), verb)
      if (told.size === 0) continue
      const own = verb === 'inbox' ? ['inbox', 'list'] : [verb]
      const { stdout } = await tidemark([...own, '--help'])
      for (const flag of told) assert.ok(stdout.includes(flag), `${verb} ${flag}`)
    }
  })

  test('tell the steps of the deploy script with their codes', () => {
    const codes = (text: string, pattern: RegExp): [string, string][] =>
      [...text.matchAll(pattern)].map(([, step = '', code = '']) => [step, code])
    const ofScript = codes(read('scripts/deploy.sh'), /\b([a-z]+)\) say (\d+) ;;/g)
    assert.equal(ofScript.length, 8)
    assert.deepEqual(codes(read('docs/operations.md'), /^\| `([a-z]+)` .*\| (\d+) +\|$/gm), ofScript)
    const help = codes(read('scripts/deploy.sh'), /^([a-z]+) {2,}\S.* {2,}(\d+)$/gm)
    assert.deepEqual(help, ofScript)
  })

  test('give Kubernetes and ECS the time that a drain may take', () => {
    const page = read('docs/operations.md')
    const { shutdownTimeoutMs } = readSettings({})
    for (const name of ['terminationGracePeriodSeconds', '"stopTimeout"']) {
      const seconds = Number(new RegExp(`${name}: (\\d+)`).exec(page)?.[1])
      assert.ok(seconds >= shutdownTimeoutMs / 1000 + 15, name)
    }
  })

  test('have a health check for ECS that tells a healthy instance from others', async (t) => {
    const block = /^```json\n(.*?)^```/ms.exec(read('docs/operations.md'))?.[1] ?? ''
    const { healthCheck } = JSON.parse(block) as { healthCheck: { command: string[] } }
    const [form, program, ...args] = healthCheck.command
    assert.deepEqual([form, program], ['CMD', 'node'])
    let status = 200
    const server = createServer((request, response) => {
      response.writeHead(request.url === '/live' ? status : 404).end()
    }).listen(0, '127.0.0.1')
    t.after(() => server.close())
    await new Promise((done) => server.once('listening', done))
    const address = server.address()
    assert.ok(address !== null && typeof address === 'object')
    const { port } = address
    const exit = (): Promise<number> =>
      new Promise((done) => {
        const asked = args.map((arg) => arg.replace('8080', String(port)))
        execFile(process.execPath, asked, (error) => done(Number(error?.code ?? 0)))
      })
    assert.equal(await exit(), 0)
    status = 503
    assert.equal(await exit(), 1)
  })
})
