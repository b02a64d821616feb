import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What keeps a version from being released, as far as it costs nothing to look; all of it at once. */
export interface Readiness {
  readonly version: string
  readonly tag: string
  readonly faults: readonly string[]
}

const SEMVER = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/

export function readinessOf(root: string): Readiness {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  const tag = `v${version}`
  return {
    version,
    tag,
    faults: [
      ...(SEMVER.test(version) ? [] : [`the version of package.json, ${version}, is none of SemVer's`]),
      ...lockFaults(root, version),
      ...changelogFaults(readFileSync(join(root, 'CHANGELOG.md'), 'utf8'), version),
      ...treeFaults(root, tag),
    ],
  }
}

function lockFaults(root: string, version: string): string[] {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { version: string }
  return lock.version === version
    ? []
    : [
        `package-lock.json is of version ${lock.version}: npm version --no-git-tag-version ${version} sets both`,
      ]
}

/** A dated heading, and something below it. */
function changelogFaults(changelog: string, version: string): string[] {
  const sections = changelog.split(/^## /m)
  const own = sections.find((section) => section.startsWith(`[${version}]`))
  if (own === undefined)
    return [
      `CHANGELOG.md has no section ## [${version}]: give [Unreleased] that name, and begin a new one above it`,
    ]
  const [heading = '', ...body] = own.split('\n')
  const faults: string[] = []
  if (!/^\[[^\]]+\] - \d{4}-\d{2}-\d{2}$/.test(heading))
    faults.push(`CHANGELOG.md: the heading of ${version} has no date: ## [${version}] - 2026-01-31`)
  if (!body.some((line) => line.startsWith('- '))) faults.push(`CHANGELOG.md says nothing of ${version}`)
  return faults
}

function treeFaults(root: string, tag: string): string[] {
  try {
    const git = (...args: readonly string[]): string =>
      execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
    const changed = git('status', '--porcelain').split('\n').filter(Boolean)
    return [
      ...(changed.length === 0 ? [] : [`the tree has changes that are not committed: ${changed.join(', ')}`]),
      ...(git('tag', '--list', tag) === '' ? [] : [`there is a tag ${tag}: raise the version`]),
    ]
  } catch {
    return ['this is no checkout of git']
  }
}
