/*
 * Reads what `tidemark doctor --json` prints and tells what stands against a deploy, a line each. Exit 1: something does.
 * Arguments: names of checks whose findings somebody knows and lives with; `--first` where there is no schema yet, so that
 * what could not be looked at for want of it is no obstacle.
 */
import { readFileSync } from 'node:fs'

interface Examined {
  readonly name: string
  readonly status: 'ok' | 'found' | 'not_run'
  readonly findings: readonly { readonly severity: string; readonly seen: string; readonly remedy: string }[]
  readonly why: string | null
  readonly remedy: string | null
  readonly is_optional: boolean
}

const [first, accepted] = [process.argv.includes('--first'), new Set(process.argv.slice(2))]
// The document is doctor's own (docs/doctor.md tells its form).
const { checks } = JSON.parse(readFileSync(0, 'utf8')) as { readonly checks: readonly Examined[] }
const lines = checks
  .filter(({ name }) => !accepted.has(name))
  .flatMap(({ name, status, findings, why, remedy, is_optional: isOptional }) => {
    if (status === 'not_run')
      return isOptional || first ? [] : [`${name} could not look: ${why ?? ''}. Remedy: ${remedy ?? ''}`]
    return findings
      .filter(({ severity }) => severity !== 'note')
      .map((one) => `${one.severity} ${name}: ${one.seen}. Remedy: ${one.remedy}`)
  })
process.stdout.write(lines.map((line) => `  ${line}\n`).join(''))
process.exitCode = lines.length === 0 ? 0 : 1
