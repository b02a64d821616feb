/**
 * Folders of a rehearsal, and what becomes of those that nobody came to clear away: kill -9 leaves a server that runs and
 * folders that stay, so each rehearsal begins by removing what those that died have left. Whose folder it is, the file
 * of its user in it tells, as an embedded server's does; a folder without one was left on purpose.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { layoutOf } from '../db/embedded/cluster.ts'
import { withFolderLock } from '../db/embedded/lock.ts'
import { stopPostmaster } from '../db/embedded/server.ts'
import { livingUsers, register } from '../db/embedded/users.ts'

const PREFIX = 'tidemark-rehearsal-'

/** A new folder for a server of a rehearsal's own. The server notes who uses it. */
export function serverFolder(): string {
  return mkdtempSync(join(tmpdir(), PREFIX))
}

export interface LogFolder {
  readonly path: string
  /** Leaves it to the user when there is anything in it; false: there was nothing, and it is removed. */
  keep(): boolean
  remove(): void
}

/** A new folder for what machines say. */
export function logFolder(): LogFolder {
  const path = mkdtempSync(join(tmpdir(), `${PREFIX}logs-`))
  const { users } = layoutOf(path)
  register(users)
  const remove = (): void => rmSync(path, { recursive: true, force: true })
  return {
    path,
    remove,
    keep() {
      rmSync(users, { recursive: true, force: true })
      if (readdirSync(path).length > 0) return true
      remove()
      return false
    },
  }
}

/** Ends servers and removes folders of rehearsals that died; returns the folders. */
export async function removeAbandoned(): Promise<string[]> {
  const removed: string[] = []
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue
    const folder = join(tmpdir(), name)
    const layout = layoutOf(folder)
    try {
      // Without this folder the server is only being made; without a file in it nobody was ever killed.
      if (readdirSync(layout.users).length === 0 || livingUsers(layout.users).length > 0) continue
      await withFolderLock(layout.lock, () => stopPostmaster(layout))
      rmSync(layout.root, { recursive: true, force: true })
      removed.push(folder)
    } catch {
      // Another user's, or being cleared away by another rehearsal at this moment.
    }
  }
  return removed
}
