import { fileURLToPath } from 'node:url'

/**
 * Absolute path of something under the package's `sql/`. The same two steps up lead there from `src/db` in a checkout
 * and from `dist/db` in the published package.
 */
export function sqlPath(relative: string): string {
  return fileURLToPath(new URL(`../../sql/${relative}`, import.meta.url))
}
