import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createIdentity } from '../../src/config/identity.ts'
import { readSettings } from '../../src/config/settings.ts'
import { SettingsInvalid } from '../../src/errors.ts'

function faultsOf(environment: Record<string, string>, pollers?: string[]) {
  try {
    readSettings(environment, pollers === undefined ? {} : { pollers })
  } catch (error) {
    assert.ok(error instanceof SettingsInvalid)
    return error
  }
  return assert.fail('the settings were taken')
}

describe('settings', () => {
  test('have a default for everything', () => {
    const settings = readSettings({})
    assert.equal(settings.databaseUrl, undefined)
    assert.deepEqual([settings.port, settings.host, settings.dashboard], [8080, '127.0.0.1', 'public'])
    assert.deepEqual([settings.heartbeatMs, settings.leaseMs], [2000, 10_000])
    assert.deepEqual([settings.logLevel, settings.logFormat], ['info', 'json'])
    assert.equal(Object.isFrozen(settings), true)
  })

  test('with a database listen on all interfaces, and show the dashboard to nobody without a token', () => {
    const settings = readSettings({ DATABASE_URL: 'postgres://u:p@db:5432/app' })
    assert.deepEqual([settings.host, settings.dashboard], ['::', 'off'])
    assert.equal(settings.directDatabaseUrl, 'postgres://u:p@db:5432/app')
    assert.equal(readSettings({ ADMIN_TOKEN: 'x'.repeat(16) }).dashboard, 'token')
  })

  test('in seconds become milliseconds, fractions too', () => {
    const settings = readSettings({ DB_LOCK_TIMEOUT_SECONDS: '1.5', DRAIN_TIMEOUT_SECONDS: '0' })
    assert.deepEqual([settings.lockTimeoutMs, settings.drainTimeoutMs], [1500, 0])
  })

  test('give operators a port of their own, which must be another one', () => {
    assert.equal(readSettings({}).opsPort, undefined)
    assert.equal(readSettings({ OPS_PORT: '9090' }).opsPort, 9090)
    assert.match(
      faultsOf({ PORT: '9090', OPS_PORT: '9090' }).message,
      /OPS_PORT is "9090": expected another port than PORT/,
    )
    assert.match(faultsOf({ OPS_PORT: 'x' }).message, /OPS_PORT/)
    // Two that the system chooses are two.
    assert.equal(readSettings({ PORT: '0', OPS_PORT: '0' }).opsPort, 0)
  })

  test('that are empty count as not set', () => {
    assert.equal(readSettings({ PORT: '', DATABASE_URL: ' ' }).port, 8080)
  })

  test('take service and release from Fly.io, else from the app', () => {
    const app = { name: 'shop', version: '2.0.0' }
    const fly = {
      FLY_APP_NAME: 'shop-eu',
      FLY_IMAGE_REF: 'registry.fly.io/shop-eu:deployment-01H@sha256:0a1b',
      FLY_MACHINE_ID: '148e',
    }
    const there = readSettings(fly, { app })
    assert.deepEqual(
      [there.serviceName, there.release, there.machineId],
      ['shop-eu', 'deployment-01H', '148e'],
    )
    const here = readSettings({}, { app })
    assert.deepEqual([here.serviceName, here.release, here.machineId], ['shop', '2.0.0', null])
    const untagged = readSettings({ FLY_IMAGE_REF: 'registry:5000/shop@sha256:0a' }, { app })
    assert.equal(untagged.release, '2.0.0')
  })

  test('that are wrong are all named at once, with value and what is expected', () => {
    const error = faultsOf({
      PORT: '99999',
      RUN_MIGRATIONS: 'yes',
      LOG_LEVEL: 'loud',
      DATABASE_CONNECT_ATTEMPTS: '2.5',
      DB_POOL_MAX: '-1',
      LEADER_HEARTBEAT_SECONDS: '9',
      SHUTDOWN_TIMEOUT_SECONDS: '5',
      DASHBOARD: 'token',
      MESSAGE_POLLER_INTERVAL_SECONDS: '0.5',
    })
    assert.deepEqual(error.faults.map(({ what }) => what).sort(), [
      'DASHBOARD',
      'DATABASE_CONNECT_ATTEMPTS',
      'DB_POOL_MAX',
      'LEADER_LEASE_SECONDS',
      'LOG_LEVEL',
      'MESSAGE_POLLER_INTERVAL_SECONDS',
      'PORT',
      'RUN_MIGRATIONS',
      'SHUTDOWN_TIMEOUT_SECONDS',
    ])
    assert.match(error.message, /PORT is "99999": expected a whole number from 0 to 65535/)
    assert.match(error.message, /LOG_LEVEL is "loud": expected one of debug, info, warn, error, critical/)
  })

  test('that are secret never show their value', () => {
    const { message, faults } = faultsOf({
      DATABASE_URL: 'mysql://root:hunter2@db/app',
      DIRECT_DATABASE_URL: 'hunter2',
      ADMIN_TOKEN: 'hunter2',
      INTAKE_TOKEN: 'hunter2',
    })
    assert.equal(faults.length, 4)
    assert.doesNotMatch(message, /hunter2/)
  })

  test('name origins as browsers do, and let any in only where no token could be used', () => {
    const origins = 'https://shop.example, http://localhost:3000'
    assert.deepEqual(readSettings({ CORS_ORIGINS: origins }).corsOrigins, [
      'https://shop.example',
      'http://localhost:3000',
    ])
    assert.deepEqual(readSettings({ CORS_ORIGINS: '*' }).corsOrigins, ['*'])
    assert.deepEqual(readSettings({}).corsOrigins, [])
    for (const bad of [
      'shop.example',
      'https://shop.example/',
      'https://shop.example,*',
      'HTTPS://shop.example',
      'null',
    ]) {
      assert.deepEqual(
        faultsOf({ CORS_ORIGINS: bad }).faults.map(({ what }) => what),
        ['CORS_ORIGINS'],
        bad,
      )
    }
    for (const token of ['ADMIN_TOKEN', 'INTAKE_TOKEN']) {
      const { faults } = faultsOf({ CORS_ORIGINS: '*', [token]: 'a-token-of-more-than-16' })
      assert.deepEqual(
        faults.map(({ what }) => what),
        ['CORS_ORIGINS'],
      )
    }
  })

  test('take the forms of a database address that every part reads alike, and no other', () => {
    for (const good of [
      'postgres://localhost/app',
      'postgresql://u:p@[::1]:5433/app?sslmode=require',
      'postgres:///app?host=/var/run/postgresql',
    ]) {
      assert.equal(readSettings({ DATABASE_URL: good }).databaseUrl, good)
    }
    for (const bad of [
      'app',
      'host=db dbname=app',
      'socket:/run/pg?db=x',
      'postgres://db',
      'postgres:///app',
      'http://db/app',
    ]) {
      assert.deepEqual(
        faultsOf({ DATABASE_URL: bad }).faults.map(({ what }) => what),
        ['DATABASE_URL'],
        bad,
      )
    }
    assert.deepEqual(
      faultsOf({ DIRECT_DATABASE_URL: 'postgres://db/app' }).faults.map(({ what }) => what),
      ['DIRECT_DATABASE_URL'],
    )
  })

  test('override the interval of the pollers that exist, and leave foreign variables of that form alone', () => {
    const environment = { MESSAGE_POLLER_INTERVAL_SECONDS: '10', HEALTHCHECK_INTERVAL_SECONDS: 'often' }
    const settings = readSettings(environment, { pollers: ['message_poller'] })
    assert.deepEqual([...settings.pollerIntervals], [['message_poller', 10_000]])
  })
})

describe('an identity', () => {
  test('is named after the machine, is new at every start, and fits into application_name', () => {
    const one = createIdentity({ machineId: '148ED123' })
    const other = createIdentity({ machineId: '148ED123' })
    assert.match(one.instanceId, /^148ed123-[0-9a-f]{6}$/)
    assert.notEqual(one.instanceId, other.instanceId)
    assert.match(one.holder, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    assert.notEqual(one.holder, other.holder)
    const long = createIdentity({ machineId: null }, `Åse's ${'very-'.repeat(20)}host.local`)
    assert.match(`tidemark:${long.instanceId}`, /^[a-z0-9:-]{1,63}$/)
  })
})
