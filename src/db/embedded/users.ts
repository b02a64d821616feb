import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { processMark } from './process.ts'

let registered = 0

/** Writes this process down as a user of the server; returns the file to give to `unregister`. Call under the lock. */
export function register(folder: string): string {
  mkdirSync(folder, { recursive: true })
  registered += 1
  const file = join(folder, `${process.pid}.${processMark(process.pid) ?? ''}.${registered}`)
  writeFileSync(file, '')
  return file
}

/** Takes a user off the list; returns how many living ones are left. Call under the lock. */
export function unregister(folder: string, file: string): number {
  rmSync(file, { force: true })
  return clearDead(folder)
}

/** Removes the files of those that ended without taking themselves off; returns how many users live. Call under the lock. */
export function clearDead(folder: string): number {
  // Somebody may have deleted the whole data folder under the running server.
  mkdirSync(folder, { recursive: true })
  const living = livingUsers(folder)
  for (const name of readdirSync(folder))
    if (!living.includes(name)) rmSync(join(folder, name), { force: true })
  return living.length
}

/**
 * Names of the files whose processes live. Who was killed could not take itself off the list: a file whose process is
 * gone, or whose pid is another process's by now, is no user.
 */
export function livingUsers(folder: string): string[] {
  return readdirSync(folder).filter((name) => {
    const [pid, mark] = name.split('.')
    return processMark(Number(pid)) === mark
  })
}
