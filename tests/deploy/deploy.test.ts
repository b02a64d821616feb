import assert from 'node:assert/strict'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Outcome } from '../cli/tidemark.ts'
import { until } from '../support/until.ts'
import { openShop } from './shop.ts'

/*
 * scripts/deploy.sh and scripts/rollback.sh, as an operator runs them, on a real database with real processes for machines.
 */

function succeeded({ code, stdout, stderr }: Outcome): string {
  assert.equal(code, 0, `${stdout}\n${stderr}`)
  return stdout
}

function failedWith({ code, stdout, stderr }: Outcome, expected: number, why: RegExp, back: RegExp): void {
  assert.equal(code, expected, `${stdout}\n${stderr}`)
  assert.match(stderr, why)
  assert.match(stderr, back)
}

const UNTOUCHED = /Nothing was changed/
const ROLLBACK = /scripts\/rollback\.sh/

test('a deploy in steps, and the way back', async (t) => {
  const shop = await openShop(t)
  const { pool } = shop
  const noted = (): string => readFileSync(join(shop.folder, '.tidemark/deploy/image'), 'utf8').trim()
  const alive = async (): Promise<string[]> => {
    const { rows } = await pool.query<{ release: string }>(
      `SELECT release FROM service_ops.instance_status WHERE state = 'ready' ORDER BY started_at`,
    )
    return rows.map(({ release }) => release)
  }
  let writing = true
  const writer = async (): Promise<number> => {
    let written = 0
    for (; writing; written += 1) {
      await pool.query('INSERT INTO orders SELECT FROM generate_series(1, 5)')
      await delay(25)
    }
    return written
  }

  await t.test('the first one: backup, no schema yet, migrations, green', async () => {
    // pg_dump refuses servers that are newer than itself, so this one only tells whom it would have asked.
    const dump = `#!/bin/sh\nfor word; do file=\${word#--file=}; done\nprintenv PGHOST PGPORT PGUSER PGDATABASE >"$file"\n`
    writeFileSync(join(shop.folder, 'bin/pg_dump'), dump, { mode: 0o755 })
    const said = succeeded(await shop.script('deploy', ['--backup']))
    const backup = readFileSync(join(shop.folder, /^backup: (.+)$/m.exec(said)?.[1] ?? ''), 'utf8')
    const { hostname, port, username, pathname } = new URL(shop.databaseUrl)
    assert.deepEqual(backup.trim().split('\n'), [hostname, port, username, pathname.slice(1)])
    const steps = [...said.matchAll(/^== (\w+)$/gm)].map(([, step]) => step)
    assert.deepEqual(steps, ['backup', 'preflight', 'migrate', 'deploy', 'wait', 'verify', 'compare'])
    assert.match(said, /this is the first deploy/)
    assert.deepEqual(await alive(), ['deployment-1'])
  })

  await t.test('the next one under load: blue hands over to green, nothing is lost or doubled', async () => {
    const written = writer()
    const outcome = await shop.script('deploy', []).finally(() => (writing = false))
    assert.ok((await written) > 0)
    const said = succeeded(outcome)
    assert.match(said, /green is ready and leads; blue is gone/)
    assert.match(said, /^lost {5}0 before, 0 after\ndoubled {2}0 before, 0 after$/m)
    assert.deepEqual(await alive(), ['deployment-2'])
    const rest = async (): Promise<boolean> => {
      const { rows } = await pool.query<{ rest: number }>(
        'SELECT ((SELECT count(*) FROM orders) - (SELECT count(*) FROM parcels))::int AS rest',
      )
      return rows[0]?.rest === 0
    }
    await until('every order to be packed', rest)
  })

  await t.test('a backup that fails stops it before anything', async () => {
    const outcome = await shop.script('deploy', ['backup'], { BACKUP_COMMAND: 'exit 3' })
    failedWith(outcome, 10, /BACKUP_COMMAND ended with 3/, UNTOUCHED)
    const nothing = await shop.script('deploy', ['backup'], { BACKUP_COMMAND: 'true' })
    failedWith(nothing, 10, /there is nothing in/, UNTOUCHED)
  })

  await t.test(
    'a preflight stops it: what waits, what failed, what does not hold, what doctor finds',
    async () => {
      const waiting = `INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id)
                     SELECT 'nobodys', n, '{}', 'trace' || n FROM generate_series(1, 3) n`
      await pool.query(waiting)
      failedWith(
        await shop.script('deploy', [], { BACKLOG_MAX: '2' }),
        11,
        /3 messages wait, and BACKLOG_MAX is 2/,
        UNTOUCHED,
      )
      await pool.query(`DELETE FROM service_ops.integration_inbox WHERE source = 'nobodys'`)
      await pool.query(
        'UPDATE service_ops.integration_inbox SET attempts = max_attempts + 1 WHERE inbox_id = 1',
      )
      failedWith(await shop.script('deploy', ['preflight']), 11, /attempts_are_bounded/, UNTOUCHED)
      failedWith(await shop.script('deploy', ['verify']), 15, /attempts_are_bounded/, ROLLBACK)
      await pool.query('UPDATE service_ops.integration_inbox SET attempts = 1 WHERE inbox_id = 1')
      const slow = readFileSync(join(shop.folder, 'fly.toml'), 'utf8').replace(
        'kill_timeout = 45',
        'kill_timeout = 20',
      )
      writeFileSync(join(shop.folder, 'slow.toml'), slow)
      failedWith(
        await shop.script('deploy', ['--fly', 'slow.toml', 'preflight']),
        11,
        /doctor found that/,
        UNTOUCHED,
      )
      assert.deepEqual(await alive(), ['deployment-2'])
    },
  )

  await t.test('migrations that cannot be made stop it, and nothing is deployed', async () => {
    const holder = await pool.connect()
    await holder.query(`SELECT pg_advisory_lock(hashtextextended('tidemark:migrate', 0))`)
    const outcome = await shop.script('deploy', ['--fly', 'slow.toml', 'migrate', 'deploy'], {
      MIGRATION_LOCK_WAIT_SECONDS: '0',
    })
    holder.release(true)
    failedWith(outcome, 12, /migrate ended with 75/, /No machine was replaced/)
    assert.match(outcome.stderr, /scripts\/deploy\.sh migrate deploy wait verify compare --fly slow\.toml/)
    assert.doesNotMatch(outcome.stdout, /== deploy/)
  })

  await t.test('a green that never gets ready leaves blue at work', async () => {
    const outcome = await shop.script('deploy', ['deploy', 'wait'], { FAKE_FLY_TROUBLE: 'green' })
    failedWith(outcome, 13, /flyctl ended with 1/, /Blue goes on/)
    assert.deepEqual(await alive(), ['deployment-2'])
  })

  await t.test(
    'a release that failed is nothing to go back to, and the way back is of the same app',
    async () => {
      copyFileSync(join(shop.folder, 'fly.toml'), join(shop.folder, 'other.toml'))
      const again = await shop.script('deploy', ['--fly', 'other.toml', 'deploy', '--', '--app', 'a shop'], {
        FAKE_FLY_TROUBLE: 'green',
      })
      failedWith(
        again,
        13,
        /flyctl ended with 1/,
        /scripts\/rollback\.sh --fly other\.toml -- --app a\\ shop/,
      )
      assert.equal(noted(), 'registry.fly.io/shop:deployment-2')
      const asked = readFileSync(join(shop.folder, 'asked'), 'utf8')
      assert.equal(asked, '--config other.toml --app a shop --image --json')
      assert.match(
        succeeded(await shop.script('rollback', ['--dry-run', '--', '--app', 'a shop'])),
        /would run flyctl deploy --config other\.toml --image registry\.fly\.io\/shop:deployment-2 --app a shop/,
      )
    },
  )

  await t.test('rows that are lost and messages that ran twice are found by comparing', async () => {
    const { rows } = await pool.query<{ row: string }>(
      `DELETE FROM service_ops.integration_inbox WHERE inbox_id = 1 RETURNING message_id AS row`,
    )
    failedWith(await shop.script('deploy', ['compare']), 16, /1 rows were lost/, ROLLBACK)
    await pool.query('DELETE FROM orders WHERE id = $1', [rows[0]?.row])
    await pool.query('UPDATE service_ops.integration_inbox SET attempts = 2 WHERE inbox_id = 2')
    failedWith(await shop.script('deploy', ['compare']), 16, /1 messages ran twice/, ROLLBACK)
    await pool.query('UPDATE service_ops.integration_inbox SET attempts = 1 WHERE inbox_id = 2')
    await pool.query(`UPDATE service_ops.integration_inbox SET status = 'DEAD' WHERE inbox_id = 2`)
    const none = { MORE_FAILED_MAX: '0' }
    failedWith(
      await shop.script('deploy', ['compare'], none),
      16,
      /1 more messages are FAILED or DEAD/,
      ROLLBACK,
    )
    await pool.query(`UPDATE service_ops.integration_inbox SET status = 'DONE' WHERE inbox_id = 2`)
  })

  await t.test('a rollback brings the image before back, by the same steps', async () => {
    const first = ['--fly', 'fly.toml', 'registry.fly.io/shop:deployment-1']
    failedWith(
      await shop.script('rollback', first, { FAKE_FLY_TROUBLE: 'green' }),
      13,
      /flyctl ended with 1/,
      ROLLBACK,
    )
    // One that failed is tried again to the same image.
    const said = succeeded(await shop.script('rollback', []))
    assert.match(said, /^back to registry\.fly\.io\/shop:deployment-1\n== deploy/)
    assert.deepEqual(await alive(), ['deployment-1'])
    // What served before this one is noted.
    assert.equal(noted(), 'registry.fly.io/shop:deployment-2')
  })

  await t.test('a blue that stays is named', async () => {
    const outcome = await shop.script('deploy', ['deploy', 'wait'], {
      FAKE_FLY_TROUBLE: 'blue',
      WAIT_SECONDS: '2',
    })
    failedWith(outcome, 14, /after 2 s: blue is still there: .+ \(deployment-1\) is ready/, ROLLBACK)
    // Two releases are at work: what older ones do not survive has to wait.
    assert.equal((await alive()).length, 2)
  })
})

test('without flyctl it is a dry run, from scripts copied into an app, and a rollback is none', async (t) => {
  const shop = await openShop(t, { copied: true })
  const env = { PATH: process.env['PATH'] ?? '' }
  const said = succeeded(await shop.script('deploy', ['--backup'], env))
  assert.match(said, /flyctl is not on the PATH: a dry run/)
  assert.match(said, /would run flyctl deploy --config fly\.toml/)
  assert.match(said, /== dry run: nothing was changed\n$/)
  const { rows } = await shop.pool.query<{ schema: string | null }>(
    `SELECT to_regnamespace('service_ops')::text AS schema`,
  )
  assert.deepEqual(rows, [{ schema: null }])
  const back = await shop.script('rollback', ['registry.fly.io/shop:deployment-1'], env)
  assert.deepEqual([back.code, back.stdout], [69, ''])
  assert.equal((await shop.script('rollback', [], env)).code, 64)
  for (const args of [['everything'], ['--image'], ['--fast']])
    assert.equal((await shop.script('deploy', args, env)).code, 64, args.join(' '))
  assert.equal((await shop.script('deploy', [], { DATABASE_URL: '' })).code, 64)
})
