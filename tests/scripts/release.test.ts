import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { readinessOf } from '../../scripts/release/readiness.ts'

const CHANGELOG = '# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-31\n\n### Added\n\n- A thing.\n'

/** A checkout of version 1.2.0, committed, with these files different. */
function checkout(t: TestContext, files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-release-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const all = {
    'package.json': '{"version": "1.2.0"}',
    'package-lock.json': '{"version": "1.2.0"}',
    'CHANGELOG.md': CHANGELOG,
    ...files,
  }
  for (const [name, text] of Object.entries(all)) writeFileSync(join(folder, name), text)
  git(folder, 'init', '--quiet')
  git(folder, 'add', '.')
  git(folder, '-c', 'user.name=a', '-c', 'user.email=a@example.com', 'commit', '--quiet', '--message', 'a')
  return folder
}

function git(folder: string, ...args: readonly string[]): void {
  execFileSync('git', args, { cwd: folder })
}

describe('a version can be released', () => {
  test('when all is committed, dated in the changelog, and not tagged yet', (t) => {
    assert.deepEqual(readinessOf(checkout(t)), { version: '1.2.0', tag: 'v1.2.0', faults: [] })
  })

  test('and else everything that is wrong is said at once', (t) => {
    const folder = checkout(t, {
      'package-lock.json': '{"version": "1.1.0"}',
      'CHANGELOG.md': CHANGELOG.replace('1.2.0', '1.1.0'),
    })
    git(folder, '-c', 'tag.gpgSign=false', 'tag', 'v1.2.0')
    writeFileSync(join(folder, 'new.ts'), '')
    const { faults } = readinessOf(folder)
    assert.match(
      faults.join('\n'),
      /^package-lock\.json is of version 1\.1\.0: .*\nCHANGELOG\.md has no section ## \[1\.2\.0\]: .*\nthe tree has changes that are not committed: \?\? new\.ts\nthere is a tag v1\.2\.0: raise the version$/,
    )
  })

  test('not with a section that has no date, or nothing in it', (t) => {
    const { faults } = readinessOf(checkout(t, { 'CHANGELOG.md': '## [1.2.0]\n\n' }))
    assert.match(
      faults.join('\n'),
      /has no date: ## \[1\.2\.0\] - 2026-01-31\nCHANGELOG\.md says nothing of 1\.2\.0$/,
    )
  })

  test('nor of a version that is none', (t) => {
    const { faults } = readinessOf(checkout(t, { 'package.json': '{"version": "1.2"}' }))
    assert.match(faults.join('\n'), /the version of package\.json, 1\.2, is none of SemVer's/)
  })
})
