import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { NODE_FLAGS } from '../../scripts/bench/process.ts'

const ROOT = join(import.meta.dirname, '../..')
const FLAGS = NODE_FLAGS.join(' ')

for (const [file, line] of [
  [
    'Dockerfile',
    `CMD ["node", ${NODE_FLAGS.map((flag) => `"${flag}"`).join(', ')}, "bin/tidemark.js", "start"]`,
  ],
  ['fly.toml', `worker = "node ${FLAGS} bin/tidemark.js start --only pollers,processors,jobs"`],
  ['fly.toml', `intake = "node ${FLAGS} bin/tidemark.js start --only intake"`],
  ['package.json', `"start": "node ${FLAGS} bin/tidemark.js start --demo"`],
] as const) {
  test(`${file} starts Node as the bench does: ${line}`, () => {
    assert.ok(readFileSync(join(ROOT, file), 'utf8').includes(line), `${file} has no ${line}`)
  })
}
