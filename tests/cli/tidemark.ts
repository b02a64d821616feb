import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { programEnv } from '../support/programWay.ts'

const BIN = resolve(import.meta.dirname, '../../bin/tidemark.js')

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly env?: Record<string, string>
  readonly cwd?: string
  readonly stdin?: string
}

/** Runs the command line as a process of its own, with no variables but PATH and those given. */
export function tidemark(
  args: readonly string[],
  { env = {}, cwd, stdin }: RunOptions = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd: cwd ?? process.cwd(),
    env: { PATH: process.env['PATH'] ?? '', ...env, ...addresses(args, env) },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin.end(stdin ?? '')
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code) => done({ code, stdout, stderr }))
  })
}

/** Verbs that make tables or triggers. */
const OWNERS: ReadonlySet<string> = new Set(['migrate', 'rehearse', 'wake'])

function addresses(
  [verb = '']: readonly string[],
  env: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const { DATABASE_URL: url, DIRECT_DATABASE_URL: direct } = env
  if (url === undefined || direct !== undefined) return {}
  return programEnv(url, OWNERS.has(verb) ? 'own' : 'work')
}
