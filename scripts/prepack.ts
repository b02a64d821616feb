import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join, resolve } from 'node:path'

/* Before `npm pack` and `npm publish`: dist/ as the sources are now, and nothing of what they were. */

const root = resolve(import.meta.dirname, '..')
rmSync(join(root, 'dist'), { recursive: true, force: true })
// On stdout `npm pack --json` prints its own.
execFileSync('npm', ['run', 'build'], { cwd: root, stdio: ['ignore', 2, 2] })
