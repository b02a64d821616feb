import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { cleanError } from '../telemetry/errorText.ts'

/** A file to be written, by its path in the folder. */
export interface Draft {
  readonly path: string
  readonly text: string
}

/** `kept`: something of this name is there, and was left alone. `failed`: why. */
export type Written =
  | { readonly path: string; readonly how: 'wrote' }
  | { readonly path: string; readonly how: 'kept' }
  | { readonly path: string; readonly how: 'failed'; readonly why: string }

/** Writes each file, never over anything: not even where somebody makes it at the same moment. */
export function writeDrafts(folder: string, drafts: readonly Draft[]): Written[] {
  return drafts.map(({ path, text }): Written => {
    try {
      const file = join(folder, path)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, text, { flag: 'wx' })
      return { path, how: 'wrote' }
    } catch (error) {
      if (
        error instanceof Error &&
        'code' in error &&
        error.code === 'EEXIST' &&
        isThere(error, folder, path)
      )
        return { path, how: 'kept' }
      const { class: className, text: why } = cleanError(error)
      return { path, how: 'failed', why: `${className}: ${why}` }
    }
  })
}

/** EEXIST is also what a folder's name meets that is a file's. */
function isThere(error: Error, folder: string, path: string): boolean {
  return 'path' in error && error.path === join(folder, path)
}
