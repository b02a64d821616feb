import { randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { errorCode } from '../../kit/errorCode.ts'
import { processMark } from './process.ts'

/*
 * A lock between processes that survives the kill -9 of its holder.
 *
 * The folder holds numbered files; the one with the greatest number says who has the lock: `pid mark`, or `free`.
 * To take it, one links a file of the next number. A link either makes the name or fails, so of several contenders
 * one wins. A number is never taken over and the greatest file is never removed, so there is no moment at which two
 * contenders that saw the same dead holder could clear away each other's lock, which is what happens to lock files
 * that are deleted when stale. A contender who was asleep for several numbers sees after its link that its own is no
 * longer the greatest, and starts again.
 */

/** A process that lives holds this lock for milliseconds, except while it starts or stops a server. */
const POLL_MS = 25
const LIMIT_MS = 180_000

/** Runs `work` while no other process, nor any other call in this one, runs `work` on the same folder. */
export async function withFolderLock<T>(folder: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(folder, { recursive: true })
  const file = await take(folder)
  try {
    return await work()
  } finally {
    release(folder, file)
  }
}

async function take(folder: string): Promise<string> {
  const deadline = performance.now() + LIMIT_MS
  for (;;) {
    const latest = greatest(folder)
    if (latest === 0 || !isHeld(join(folder, String(latest)))) {
      const mine = tryLink(folder, latest + 1)
      if (mine !== undefined) return mine
    }
    if (performance.now() > deadline) {
      throw new Error(`The lock in ${folder} has been held by a living process for ${LIMIT_MS / 1000} s`)
    }
    await delay(POLL_MS)
  }
}

function tryLink(folder: string, number: number): string | undefined {
  const file = join(folder, String(number))
  const draft = join(folder, `draft-${randomBytes(6).toString('hex')}`)
  writeFileSync(draft, `${process.pid} ${processMark(process.pid) ?? ''}`)
  try {
    // The draft is complete before its name appears, so nobody reads a half-written owner.
    linkSync(draft, file)
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return undefined
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
  if (greatest(folder) !== number) {
    rmSync(file, { force: true })
    return undefined
  }
  for (const name of readdirSync(folder)) {
    if (/^\d+$/.test(name) && Number(name) < number) rmSync(join(folder, name), { force: true })
  }
  return file
}

function release(folder: string, file: string): void {
  const draft = join(folder, `draft-${randomBytes(6).toString('hex')}`)
  writeFileSync(draft, 'free')
  renameSync(draft, file)
}

function isHeld(file: string): boolean {
  let owner: string
  try {
    owner = readFileSync(file, 'utf8')
  } catch {
    // A later holder has cleared it away: look again before taking anything.
    return true
  }
  if (owner === 'free') return false
  const [pid, mark] = owner.split(' ')
  return processMark(Number(pid)) === mark
}

function greatest(folder: string): number {
  return readdirSync(folder)
    .filter((name) => /^\d+$/.test(name))
    .reduce((most, name) => Math.max(most, Number(name)), 0)
}
