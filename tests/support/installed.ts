import { execFile } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { inTerminal } from './clone.ts'
import { atEnd, type Scope } from './scope.ts'

/* An app in a folder of its own that has Tidemark installed as a package. */

type Environment = Readonly<Record<string, string>>

const run = promisify(execFile)

/** A first install without a cache is a hundred packages and a database server. */
const LIMIT_MS = 300_000

/** Removes the folder when everything that runs in it has ended. */
export function removeAtEnd(scope: Scope, folder: string): void {
  atEnd(scope, () => rmSync(folder, { recursive: true, force: true }))
}

/** Runs a command in the app's folder; resolves to its output, and rejects with it. */
export async function runIn(
  folder: string,
  env: Environment,
  command: string,
  args: readonly string[],
): Promise<string> {
  try {
    const { stdout } = await run(command, args, {
      cwd: folder,
      timeout: LIMIT_MS,
      env: { ...ofTheMachine(), ...env },
    })
    return stdout
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`, { cause: error })
  }
}

/** npm's cache and settings, proxies and certificates are this machine's; what npm and the tests set for themselves is not. */
function ofTheMachine(): Record<string, string | undefined> {
  const theirs =
    /^(?:NODE_OPTIONS|NODE_TEST_|NODE_COMPILE_CACHE|INIT_CWD|npm_(?:package|lifecycle|command|config_local_prefix)|TIDEMARK_|.*DATABASE_URL$)/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !theirs.test(name)))
}

const PROGRAM = `import { defineConfig, createRunner, getOrCreate, type Message, type TransactionalContext } from 'tidemark'
import { deliverOne, testDatabase, testRunner } from 'tidemark/testing'

async function handle({ payload }: Message, { tx, log }: TransactionalContext): Promise<void> {
  const { rows } = await tx.query<{ n: number }>('SELECT 1 AS n')
  log.info('counted', { n: rows[0]?.n, payload: payload === null })
}
const config = defineConfig({ intakes: { orders: {} }, processors: { packing: { from: 'orders', contract: 'transactional', handle } } })
// @ts-expect-error -- were a type not found, everything would be allowed
defineConfig({ intakes: 7 })
// @ts-expect-error -- likewise
await deliverOne(config, { processor: 7, payload: null })
export const all = [createRunner, getOrCreate, testDatabase, testRunner]
`

const RESOLUTIONS = [
  ['node16', 'node16'],
  ['nodenext', 'nodenext'],
  ['esnext', 'bundler'],
] as const

/** Types of both entries are found under every `moduleResolution` that knows `exports`, those of node-postgres with them. */
export async function typesResolve(folder: string, env: Environment): Promise<void> {
  writeFileSync(join(folder, 'types.mts'), PROGRAM)
  for (const [module, moduleResolution] of RESOLUTIONS) {
    const compilerOptions = {
      module,
      moduleResolution,
      target: 'es2024',
      types: ['node'],
      strict: true,
      noEmit: true,
      // Of Tidemark's own declarations every line is looked at.
      skipLibCheck: false,
    }
    writeFileSync(join(folder, 'types.json'), JSON.stringify({ compilerOptions, files: ['types.mts'] }))
    const faults = await runIn(folder, env, 'npx', ['tsc', '-p', 'types.json']).catch(faultsOfOurs)
    if (faults !== '') throw new Error(`under ${moduleResolution}:\n${faults}`)
  }
}

/** Declarations of pg-boss 12.38 name a type that they do not have; whatever is wrong in any other file is told. */
function faultsOfOurs(error: Error): string {
  const lines = error.message.split('\n').filter((line) => line.includes(': error TS'))
  if (lines.length === 0) throw error
  return lines.filter((line) => !line.startsWith('node_modules/pg-boss/')).join('\n')
}

export interface App {
  readonly address: string
  prints(pattern: RegExp): Promise<unknown>
  /** As a machine is stopped; it has to end by itself, and well. */
  stop(): Promise<void>
}

/** `npm start`, or another command, until it is ready. */
export async function startApp(
  scope: Scope,
  folder: string,
  env: Environment,
  command = 'npm start',
): Promise<App> {
  const terminal = inTerminal(scope, folder, command, {
    HOST: '127.0.0.1',
    PORT: '0',
    LOG_FORMAT: 'pretty',
    ...env,
  })
  const [, address = ''] = await terminal.prints(/ready at (http:\S+)/, 120_000)
  return {
    address,
    prints: (pattern) => terminal.prints(pattern),
    async stop() {
      terminal.signal('SIGTERM')
      const code = await terminal.ended
      // npm in front ends by the signal itself.
      if (!/drained in \d+ ms/.test(terminal.printed))
        throw new Error(`it ended with ${code}:\n${terminal.printed}`)
    },
  }
}
