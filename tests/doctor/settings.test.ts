import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TidemarkConfig } from '../../src/config/types.ts'
import { judgeNode } from '../../src/doctor/runtime.ts'
import { examined, finds, isSilent } from './patient.ts'

const LONG_TOKEN = '4c1d8e07b2a95f36'
const OTHER_TOKEN = 'd2f07a91c35e846b'
const INTAKE: TidemarkConfig = { intakes: { orders: {} } }

describe('what the settings say', () => {
  test('a token that can be guessed', async () => {
    await finds('tokens', /ADMIN_TOKEN has fewer than 8/, { env: { ADMIN_TOKEN: 'aaaaaaaaaaaaaaaaaaaa' } })
  })

  test('one token for operators and senders', async () => {
    const env = { ADMIN_TOKEN: LONG_TOKEN, INTAKE_TOKEN: LONG_TOKEN }
    await finds('tokens', /are the same/, { env })
    await isSilent('tokens', { env: { ...env, INTAKE_TOKEN: OTHER_TOKEN } })
  })

  test('an intake that nobody can send to', async () => {
    await finds('tokens', /nobody can send to \/inbox\/orders/, { config: INTAKE })
    await isSilent('tokens', { config: INTAKE, env: { INTAKE_TOKEN: LONG_TOKEN } })
    const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
    await isSilent('tokens', { config: { intakes: { orders: { signature: { secret } } } } })
  })

  test('actions without a token are worth a note, and no mistake', async () => {
    const { status, findings } = await examined('tokens')
    assert.equal(status, 'ok')
    assert.deepEqual(
      findings.map(({ severity, seen }) => [severity, seen]),
      [['note', 'ADMIN_TOKEN is not set: nobody may act by /admin']],
    )
    await isSilent('tokens', { env: { DATABASE_URL: '' } })
  })

  test('a dashboard that everybody sees', async () => {
    const env = { DASHBOARD: 'public', HOST: '0.0.0.0' }
    await finds('dashboard', /HOST is 0\.0\.0\.0: whoever reaches port 9000/, {
      env: { ...env, OPS_PORT: '9000' },
    })
    await isSilent('dashboard', { env: { ...env, HOST: '127.0.0.1' } })
    await isSilent('dashboard', { env: { HOST: '0.0.0.0' } })
  })

  test('a drain that takes all the time there is to leave', async () => {
    const env = { DRAIN_TIMEOUT_SECONDS: '30', SHUTDOWN_TIMEOUT_SECONDS: '32' }
    const { remedy } = await finds('drain_limits', /clean-ups and the hand-over have 2 s/, { env })
    const [name = '', value = ''] = remedy.split('=')
    await isSilent('drain_limits', { env: { ...env, [name]: value } })
    await isSilent('drain_limits')
  })

  test('a handler that may take longer than a drain waits', async () => {
    const config = (timeout?: '90s'): TidemarkConfig => ({
      pollers: { orders: { source: { table: 'orders', id: 'id', createdAt: 'at' } } },
      processors: {
        packing: {
          from: 'orders',
          contract: 'external',
          handle: () => undefined,
          ...(timeout && { timeout }),
        },
      },
    })
    await finds('handler_limits', /processors\.packing may take 90 s, .* waits 20 s: .* outside effects/, {
      config: config('90s'),
    })
    await isSilent('handler_limits', {
      config: config('90s'),
      env: { DRAIN_TIMEOUT_SECONDS: '90', SHUTDOWN_TIMEOUT_SECONDS: '100' },
    })
    // The default is nobody's decision.
    const { status, findings } = await examined('handler_limits', { config: config() })
    assert.equal(status, 'ok')
    assert.deepEqual(
      findings.map(({ severity }) => severity),
      ['note'],
    )
  })

  test('a job that may take longer than a drain waits', async () => {
    const config: TidemarkConfig = {
      jobs: { report: { cron: '0 3 * * *', timeout: '10m', handle: () => undefined } },
    }
    const { remedy } = await finds('handler_limits', /jobs\.report may take 600 s/, { config })
    // Which Fly.io would cut off: it takes no kill_timeout above 300 s.
    assert.doesNotMatch(remedy, /DRAIN_TIMEOUT_SECONDS/)
    assert.match(remedy, /timeout: '20s' in jobs\.report/)
  })

  test('a pool that is too small for its handlers', async () => {
    const config: TidemarkConfig = {
      pollers: { orders: { source: { table: 'orders', id: 'id', createdAt: 'at' } } },
      processors: {
        packing: { from: 'orders', contract: 'transactional', concurrency: 20, handle: () => undefined },
      },
    }
    await isSilent('pool', { config })
    const env = { DB_POOL_MAX: '12' }
    const { remedy } = await finds('pool', /is 12, and 20 transactional handlers at once want 24/, {
      config,
      env,
    })
    await isSilent('pool', { config, env: { DB_POOL_MAX: remedy.replace(/^DB_POOL_MAX=(\d+).*/, '$1') } })
  })

  test('a Node that is too old', async () => {
    assert.match(judgeNode('20.19.5')[0]?.seen ?? '', /Node is at 20\.19\.5/)
    assert.match(judgeNode('22.17.1')[0]?.seen ?? '', /need 22\.18/)
    assert.deepEqual([...judgeNode('22.18.0'), ...judgeNode('24.0.1')], [])
    await isSilent('runtime')
  })
})
