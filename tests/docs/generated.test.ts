import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { optionNames } from '../../scripts/docs/options.ts'
import { generatedPages, ROOT } from '../../scripts/docs/pages.ts'
import { describeRelations } from '../../scripts/docs/relations.ts'
import { CONFIG_SCHEMA } from '../../src/config/schema.ts'

describe('what is made of a page', async () => {
  for (const [path, text] of await generatedPages())
    test(`${path} is as \`npm run docs\` writes it`, () => {
      const [now, known] = [text.split('\n'), readFileSync(join(ROOT, path), 'utf8').split('\n')]
      const line = now.findIndex((one, index) => one !== known[index])
      const message = `line ${line + 1} is now: ${now[line] ?? 'the end'}\ncommitted: ${known[line] ?? 'the end'}`
      assert.ok(line < 0 && now.length === known.length, message)
    })

  test('tells the options that a config is checked for, and no others', () => {
    const { pollers, intakes, jobs, processors } = CONFIG_SCHEMA.shape
    const shapes = [pollers, intakes, jobs, processors].map((one) =>
      Object.keys(one.unwrap().valueType.shape).toSorted(),
    )
    const told = [
      ['PollerConfig'],
      ['IntakeConfig'],
      ['JobConfig'],
      [
        'ProcessorBase',
        'TransactionalProcessorConfig',
        'ExternalProcessorConfig',
        'BatchProcessorConfig',
        'DeliveringProcessorConfig',
      ],
    ].map((names) => [...new Set(names.flatMap((name) => optionNames(ROOT, name)))].toSorted())
    assert.deepEqual(told, shapes)
    assert.deepEqual(
      optionNames(ROOT, 'TidemarkConfig').toSorted(),
      Object.keys(CONFIG_SCHEMA.shape).toSorted(),
    )
    assert.deepEqual(
      optionNames(ROOT, 'SourceConfig').toSorted(),
      Object.keys(pollers.unwrap().valueType.shape.source.shape).toSorted(),
    )
  })
})

test('a listing of the schema is told relation by relation, with the comments alone', () => {
  const told = describeRelations(
    [
      'table service_ops.t with (fillfactor=10)\n  -- What t\n  -- is.\n  n integer not null default 1\n    -- How many.\n  constraint t_pkey PRIMARY KEY (n)\n  CREATE UNIQUE INDEX t_pkey ON service_ops.t (n)',
      'sequence service_ops.s',
      'view service_ops.v\n  -- A view.\n   SELECT n\n     FROM t;\n  n integer\n    -- The same.',
      'function service_ops.verify()\n  -- All of them.\n  CREATE OR REPLACE FUNCTION service_ops.verify()',
      'function service_ops.own()\n  -- Ours.',
    ].join('\n\n'),
  )
  assert.equal(
    told,
    [
      '### Views',
      '#### `v`\n\nA view.\n\n- `n` integer: The same.',
      '### Functions',
      '- `service_ops.verify()`: All of them.',
      '### Tables',
      '#### `t`\n\nWhat t is.\n\n- `n` integer: How many.',
    ].join('\n\n'),
  )
})
