import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import { describe, test } from 'node:test'

const SCRIPT = resolve(import.meta.dirname, '../../scripts/deploy/address.ts')

/** What a shell has after it evaluated what the script prints. */
function evaluated(url: string): string[] {
  const program = `eval "$("$NODE" "$SCRIPT")"; printenv | grep ^PG | sort`
  const env = { PATH: process.env['PATH'] ?? '', NODE: process.execPath, SCRIPT, URL: url }
  return spawnSync('bash', ['-c', program], { encoding: 'utf8', env }).stdout.trim().split('\n')
}

describe('the address of a backup', () => {
  test('becomes variables of libpq, whatever the password has in it', () => {
    assert.deepEqual(evaluated("postgres://ann:it's%20%24(id)@[::1]:6000/shop?sslmode=no-verify"), [
      'PGDATABASE=shop',
      'PGHOST=::1',
      "PGPASSWORD=it's $(id)",
      'PGPORT=6000',
      'PGSSLMODE=require',
      'PGUSER=ann',
    ])
    assert.deepEqual(evaluated('postgres:///shop?host=/run/postgresql&user=ann'), [
      'PGDATABASE=shop',
      'PGHOST=/run/postgresql',
      'PGPORT=5432',
      'PGUSER=ann',
    ])
  })

  test('that is none is refused, and not repeated', () => {
    for (const url of [
      'postgres://ann:secret@host:port/shop',
      'postgres://ann:secret%@host/shop',
      'secret',
    ]) {
      const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT], {
        encoding: 'utf8',
        env: { URL: url },
      })
      assert.deepEqual([status, stdout], [1, ''], url)
      assert.match(stderr, /is no URL/)
      assert.doesNotMatch(stderr, /secret/)
    }
  })
})
