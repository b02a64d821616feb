import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { findOnPath } from '../support/program.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import type { Image } from './buildImage.ts'

/** An image's process: alone in its root and its process ids, as its user, within its memory. */
export interface Contained {
  /** Each line of its log. */
  readonly lines: readonly Readonly<Record<string, unknown>>[]
  /** All that it wrote that is no line of the log. */
  readonly other: readonly string[]
  /** What the kernel says of it: NSpid, Uid, VmHWM and so on. */
  kernel(field: string): string
  /** Sends it to the process itself. */
  signal(name: NodeJS.Signals): void
  readonly exited: Promise<number | null>
}

/** A limit that the kernel enforces, where one can be set. */
export interface MemoryLimit {
  readonly how: string
  /** The command, begun so that it is held by the limit. */
  wrap(command: readonly string[]): string[]
  /** The most that was in use, by the kernel's own count; undefined where it keeps none. */
  peakBytes(): number | undefined
}

/** Whom the host takes an image's user for where the tests run as root: `nobody`. */
const NOBODY = '65534'

/** Why nothing can be contained here, or false. */
export function containmentMissing(): string | false {
  if (findOnPath('unshare') === undefined) return 'unshare is not on the PATH (package util-linux)'
  const { status, stderr } = spawnSync('unshare', [...namespaces('1000'), 'true'], { encoding: 'utf8' })
  return status !== 0 && `the kernel makes no namespaces for this user: ${stderr.trim()}`
}

function namespaces(user: string): string[] {
  return [
    '--user',
    `--map-user=${user}`,
    `--map-group=${user}`,
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
  ]
}

/** Starts a command of an image. */
export function startContained(
  scope: Scope,
  image: Image,
  options: {
    readonly command?: readonly string[]
    readonly env: Readonly<Record<string, string>>
    readonly limit?: MemoryLimit
  },
): Contained {
  const command = options.command ?? image.command
  const place = [`--root=${image.root}`, `--wd=${image.workdir}`]
  const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups']
  const alone = [
    ...(process.getuid?.() === 0 ? asNobody : []),
    'unshare',
    ...namespaces(image.user),
    ...place,
    ...command,
  ]
  const [program = '', ...args] = options.limit?.wrap(alone) ?? alone
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...image.env, ...options.env },
  })
  const lines: Record<string, unknown>[] = []
  const other: string[] = []
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', (text) => {
      if (text.startsWith('{"')) lines.push(JSON.parse(text) as Record<string, unknown>)
      else other.push(text)
    })
  const exited = new Promise<number | null>((done) => child.on('close', done))
  scope.after(async () => {
    child.kill('SIGKILL')
    await exited
  })
  /** The process itself, as the host numbers it: the child of `unshare`. */
  const pid = (): number => {
    const unshare = String(child.pid)
    return Number(readFileSync(`/proc/${unshare}/task/${unshare}/children`, 'utf8').trim())
  }
  return {
    lines,
    other,
    kernel: (field) =>
      new RegExp(`^${field}:\\s*(.+)$`, 'm').exec(readFileSync(`/proc/${pid()}/status`, 'utf8'))?.[1] ?? '',
    signal: (name) => process.kill(pid(), name),
    exited,
  }
}

/** Waits for the first line of an event; fails when the process ends without it. */
export async function said(one: Contained, event: string): Promise<Readonly<Record<string, unknown>>> {
  let over = false
  void one.exited.then(() => (over = true))
  return until(
    event,
    () => {
      const found = one.lines.find((line) => line['event'] === event)
      if (found === undefined && over)
        throw new Error(
          `It ended before ${event}:\n${[...one.lines.map((l) => l['msg']), ...one.other].join('\n')}`,
        )
      return found
    },
    60_000,
  )
}

/**
 * A control group's limit, which takes root. For anybody else there is none: RLIMIT_DATA counts what V8 only reserves for code,
 * and ends it before it has begun; RLIMIT_RSS is not enforced. Then what was resident is all that can be looked at.
 */
export function limitMemory(scope: Scope, bytes: number): MemoryLimit {
  return (
    controlGroup(scope, bytes) ?? {
      how: 'nothing (it takes root), so only looked at',
      wrap: (command) => [...command],
      peakBytes: () => undefined,
    }
  )
}

const HIERARCHIES = [
  { root: '/sys/fs/cgroup', limit: 'memory.max', swap: ['memory.swap.max', '0'], peak: 'memory.peak' },
  {
    root: '/sys/fs/cgroup/memory',
    limit: 'memory.limit_in_bytes',
    swap: ['memory.memsw.limit_in_bytes', undefined],
    peak: 'memory.max_usage_in_bytes',
  },
] as const

function controlGroup(scope: Scope, bytes: number): MemoryLimit | undefined {
  for (const { root, limit, swap, peak } of HIERARCHIES) {
    const folder = join(root, `tidemark-image-${process.pid}`)
    try {
      mkdirSync(folder)
    } catch {
      continue
    }
    scope.after(async () => {
      await until('the control group to be empty', () => removed(folder))
    })
    // A hierarchy without this controller has no such file, and none can be made there.
    if (!existsSync(join(folder, limit))) continue
    writeFileSync(join(folder, limit), String(bytes))
    const [file, value] = swap
    // Without accounting of swap there is no such file; then there is no swap to go to either, or it is not counted.
    if (existsSync(join(folder, file))) writeFileSync(join(folder, file), value ?? String(bytes))
    return {
      how: `${limit} of a control group`,
      wrap: (command) => [
        'sh',
        '-c',
        `echo $$ > ${join(folder, 'cgroup.procs')} && exec "$@"`,
        'sh',
        ...command,
      ],
      peakBytes: () =>
        existsSync(join(folder, peak)) ? Number(readFileSync(join(folder, peak), 'utf8')) : undefined,
    }
  }
  return undefined
}

/** The last process of a group leaves it a moment after its end. */
function removed(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch {
    return false
  }
}
