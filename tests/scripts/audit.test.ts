import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { judgeAudit } from '../../scripts/check/audit.ts'

const withOne = (severity: string): string =>
  JSON.stringify({
    auditReportVersion: 2,
    vulnerabilities: { hono: { severity, via: [{ title: 'A hole', url: 'https://a.example/1' }, 'other'] } },
  })

describe('the audit', () => {
  test('ends CI for what is high or critical, and names it', () => {
    for (const severity of ['high', 'critical'])
      assert.deepEqual(judgeAudit(withOne(severity)), {
        verdict: 'holes',
        lines: [`${severity}: hono: A hole https://a.example/1; through other`],
      })
  })

  test('lets lower ones pass, and says how many there are', () => {
    for (const severity of ['info', 'low', 'moderate'])
      assert.deepEqual(judgeAudit(withOne(severity)), {
        verdict: 'sound',
        lines: ['nothing high or critical (1 of lower severity)'],
      })
    assert.equal(judgeAudit('{"vulnerabilities":{}}').verdict, 'sound')
  })

  test('knows nothing where the registry gave no answer, and says so', () => {
    for (const output of [
      '',
      'npm error code ENOTFOUND',
      '{"error":{"code":"ENOAUDIT","summary":"not implemented"}}',
      '{"message":"404 Not Found","vulnerabilities":{},"error":{}}',
      '{"vulnerabilities":null}',
      'null',
    ])
      assert.equal(judgeAudit(output).verdict, 'unknown', output)
  })

  test('is run in CI', () => {
    assert.match(readFileSync(join(import.meta.dirname, '../../.ci/run'), 'utf8'), /^npm run audit$/m)
  })
})
