import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Where a program is on the PATH; undefined when it is not. */
export function findOnPath(command: string, path = process.env['PATH'] ?? ''): string | undefined {
  const folders = path.split(delimiter)
  return folders
    .map((folder) => join(folder, command))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}
