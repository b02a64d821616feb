import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

/** It installs every package anew, from the registry: minutes on a slow line, and nothing for each run of CI. */
const isLong = process.env['TIDEMARK_LONG'] === '1'

test('a newcomer has the first message DONE within 90 s of the clone', { skip: !isLong }, async (t) => {
  const script = join(import.meta.dirname, '../../scripts/newcomer.ts')
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  t.diagnostic(output)
  assert.equal(code, 0, output)
})
