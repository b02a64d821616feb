import { resolve } from 'node:path'
import { findViolations } from './rules.ts'

/*
 * npm run architecture: says where the tree breaks one of its rules, and why the rule is there.
 * An argument names another tree than this one.
 */

const root = resolve(process.argv[2] ?? resolve(import.meta.dirname, '../..'))
const violations = findViolations(root)
for (const { file, what, reason } of violations) process.stdout.write(`${file}: ${what}\n    ${reason}\n`)
const count = violations.length === 1 ? '1 violation' : `${violations.length} violations`
process.stdout.write(
  violations.length === 0 ? 'architecture: every rule holds\n' : `architecture: ${count}\n`,
)
process.exitCode = violations.length === 0 ? 0 : 1
