import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'

/**
 * Names a process for good: a pid comes round again, a pid together with its start time does not.
 * Undefined when no such process lives; a zombie (nobody fetched its exit code) counts as dead.
 */
export function processMark(pid: number): string | undefined {
  if (process.platform !== 'linux') return markFromPs(pid)
  const stat = readProc(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  // The command's name stands in parentheses and may contain anything; the fields are counted after the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, startedTicks] = [fields[0], fields[19]]
  if (state === undefined || startedTicks === undefined || state === 'Z' || state === 'X') return undefined
  // Ticks count from boot, so the boot belongs to the name.
  const boot = readProc('/proc/sys/kernel/random/boot_id')?.slice(0, 8) ?? 'boot'
  return `${boot}_${startedTicks}`
}

/** Whether `pid` is a PostgreSQL server that runs in the folder `dataFolder`. */
export function isPostmasterOf(pid: number, dataFolder: string): boolean {
  if (processMark(pid) === undefined) return false
  if (process.platform !== 'linux') return psField(pid, 'comm=').includes('postgres')
  if (readProc(`/proc/${pid}/comm`)?.trim() !== 'postgres') return false
  try {
    // By inode, since one folder has several paths where it is mounted twice.
    const [there, here] = [statSync(`/proc/${pid}/cwd`), statSync(dataFolder)]
    return there.dev === here.dev && there.ino === here.ino
  } catch {
    // Another user's process: its folder is not ours to see, and a postgres with the pid of the pid file is enough.
    return true
  }
}

function markFromPs(pid: number): string | undefined {
  const [state, ...started] = psField(pid, 'state=,lstart=').trim().split(/\s+/)
  if (state === undefined || state === '' || state.startsWith('Z')) return undefined
  return started.join('_').replaceAll(/[^A-Za-z0-9_]/g, '-')
}

function psField(pid: number, fields: string): string {
  try {
    return execFileSync('ps', ['-o', fields, '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  } catch {
    return ''
  }
}

/** Undefined when the process is gone: reading a file of `/proc` is then ENOENT or ESRCH. */
function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
