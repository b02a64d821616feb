import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { processMark } from '../db/embedded/process.ts'

/** Tells the keeper which folder is meant. */
export const FOLDER_VARIABLE = 'TIDEMARK_TESTING_FOLDER'

/** Names the process that keeps the server of a folder. Read and written under the folder's lock. */
export function keeperFile(folder: string): string {
  return join(folder, 'keeper')
}

/** Whether the process that the file names still lives. */
export function keeperLives(folder: string): boolean {
  try {
    const [pid, mark] = readFileSync(keeperFile(folder), 'utf8').split(' ')
    return processMark(Number(pid)) === mark
  } catch {
    return false
  }
}
