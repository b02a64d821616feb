import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { Command } from 'commander'
import { loadVerbs } from '../../scripts/docs/verbs.ts'
import { createDatabase } from '../support/database.ts'
import { blocksOf, pages, ROOT } from './markdown.ts'

/** Pages whose every query runs as it stands, on the demo's tables. */
const QUERIES = ['docs/sql.md', 'docs/faq.md', 'docs/incidents.md']

describe('what stands in pages', () => {
  test('as a command is a verb of ours with flags that it has', async () => {
    const verbs = new Map((await loadVerbs(ROOT)).map((verb) => [verb.name(), verb]))
    let looked = 0
    const faults: string[] = []
    for (const { path, text } of pages()) {
      if (path === 'CHANGELOG.md') continue
      const lines = blocksOf(text)
        .filter(({ language }) => language === 'sh' || language === '')
        .flatMap((block) => block.text.replaceAll('\\\n', ' ').split('\n'))
      for (const line of lines) {
        const [, verb, rest = ''] = /^(?:\$ )?(?:[A-Z_]+=\S+ )*npx tidemark ([a-z]+)(.*)$/.exec(line) ?? []
        if (verb === undefined) continue
        looked += 1
        const command = subcommand(verbs.get(verb), rest)
        if (command === undefined) faults.push(`${path}: ${line}: there is no such verb`)
        // What stands in quotes is a value.
        for (const [flag] of rest.replace(/"[^"]*"|'[^']*'/g, '').matchAll(/(?<=\s)--[a-z-]+/g))
          if (command?.options.some(({ long }) => long === flag) !== true && flag !== '--help')
            faults.push(`${path}: ${line}: no ${flag}`)
      }
    }
    assert.deepEqual(faults, [])
    assert.ok(looked > 10, `${looked} commands`)
  })

  for (const path of QUERIES)
    test(`of ${path} as a query runs as it stands`, async (t) => {
      const client = await (await createDatabase(t)).client()
      await client.query('CREATE SCHEMA IF NOT EXISTS pgboss')
      await client.query(readFileSync(join(ROOT, 'sql/demo/1_tables.sql'), 'utf8'))
      await client.query(
        `INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release) VALUES (1, 'message_poller', 'poller', true, '', '')`,
      )
      const blocks = blocksOf(readFileSync(join(ROOT, path), 'utf8')).filter(
        ({ language }) => language === 'sql',
      )
      assert.ok(blocks.length > 0)
      for (const { text } of blocks) {
        await client.query('BEGIN')
        await client.query(text).catch((error: unknown) => {
          throw new Error(`${text}\n${String(error)}`)
        })
        await client.query('ROLLBACK')
      }
    })
})

function subcommand(verb: Command | undefined, rest: string): Command | undefined {
  if (verb === undefined || verb.commands.length === 0) return verb
  const [, name] = /^ ([a-z]+)/.exec(rest) ?? []
  return verb.commands.find((one) => one.name() === name)
}
