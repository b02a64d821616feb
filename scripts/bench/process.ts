import { readFileSync } from 'node:fs'

/**
 * How Node is started, as in Dockerfile, fly.toml and `npm start`. V8 takes up to 128 MB for young objects on a large machine and
 * gives them back seldom; with 16 the line holds 222 MB where it held 311, at the same speed.
 */
export const NODE_FLAGS = ['--max-semi-space-size=8']

/** Memory that a process has in RAM now, in megabytes; null where there is no /proc, or no such process. */
export function rssMb(pid: number): number | null {
  try {
    const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kb === undefined ? null : Number(kb) / 1024
  } catch {
    return null
  }
}

/** Linux counts in hundredths of a second towards programs, whatever the kernel's own tick is. */
const TICK_MS = 10

/** CPU that a process has used since it began, in milliseconds; null where there is no /proc, or no such process. */
export function cpuMs(pid: number): number | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in brackets may hold blanks; what follows is numbered from the third field on (man 5 proc).
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[14 - 3]) + Number(fields[15 - 3])) * TICK_MS
  } catch {
    return null
  }
}
