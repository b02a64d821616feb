import { spawnSync } from 'node:child_process'
import { judgeAudit } from './check/audit.ts'

/*
 * npm run audit: whether what is installed in production has holes that are known, and are high or critical. Exit code 1 only
 * then: where the registry gives no answer, nothing is known, which is said and is no fault of the code.
 */

/** A registry that is away may keep npm trying for minutes. */
const LIMIT_MS = 60_000

const { stdout, error } = spawnSync('npm', ['audit', '--omit=dev', '--json', '--fetch-retries=1'], {
  encoding: 'utf8',
  timeout: LIMIT_MS,
  maxBuffer: 64 * 2 ** 20,
})
const { verdict, lines } = judgeAudit(error === undefined ? stdout : '')
for (const line of lines) process.stdout.write(`audit: ${line}\n`)
process.exitCode = verdict === 'holes' ? 1 : 0
