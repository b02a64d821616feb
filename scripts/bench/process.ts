import { readFileSync } from 'node:fs'

/** What Linux says of a process; null where there is no /proc, or no such process. */

/** Memory that it has in RAM now, in megabytes. */
export function rssMb(pid: number): number | null {
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(read(pid, 'status'))?.[1]
  return kb === undefined ? null : Number(kb) / 1024
}

/** Linux counts in hundredths of a second towards programs, whatever the kernel's own tick is. */
const TICK_MS = 10

/** CPU that it has used, in milliseconds. */
export function cpuMs(pid: number): number | null {
  const text = read(pid, 'stat')
  if (text === '') return null
  // The name in brackets may hold blanks; what follows is numbered from the third field on (man 5 proc).
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}
