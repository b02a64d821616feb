import { spawnSync } from 'node:child_process'
import { findOnPath } from './program.ts'

const PROMTOOL = findOnPath('promtool')

/** Why tests that need promtool and Prometheus are skipped; never in CI, which installs them. */
export const promtoolMissing: string | false =
  PROMTOOL === undefined &&
  process.env['TIDEMARK_CI'] === undefined &&
  'promtool is not on the PATH (package prometheus)'

/** Runs promtool; returns all that it said, and throws that when it found a fault. */
export function promtool(args: readonly string[], input?: string): string {
  const { status, stdout, stderr, error } = spawnSync(PROMTOOL ?? 'promtool', args, {
    input,
    encoding: 'utf8',
  })
  if (error !== undefined) throw error
  const said = `${stdout}${stderr}`
  if (status !== 0) throw new Error(`promtool ${args.join(' ')} ended with ${String(status)}:\n${said}`)
  return said
}
