import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join, posix } from 'node:path'
import { describe, test } from 'node:test'
import { anchorsOf, linksOf, pages, ROOT } from './markdown.ts'
import type { Page } from './markdown.ts'

/** Links within the project that lead nowhere. */
function broken(all: readonly Page[], exists: (path: string) => boolean): string[] {
  const byPath = new Map(all.map((page) => [page.path, page]))
  return all.flatMap(({ path, text }) =>
    linksOf(text).flatMap((target) => {
      if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return []
      const [file = '', anchor] = target.split('#')
      const to = file === '' ? path : posix.join(posix.dirname(path), decodeURIComponent(file))
      if (to.startsWith('..') || !exists(to)) return [`${path}: ${target}: there is no ${to}`]
      const page = byPath.get(to)
      if (anchor === undefined || page === undefined) return []
      return anchorsOf(page.text).has(anchor) ? [] : [`${path}: ${target}: ${to} has no such heading`]
    }),
  )
}

describe('links between pages', () => {
  const all = pages()

  test('lead to files and headings that are there', () => {
    assert.ok(all.length > 20)
    assert.ok(all.flatMap(({ text }) => linksOf(text)).length > 100)
    assert.deepEqual(
      broken(all, (path) => existsSync(join(ROOT, path))),
      [],
    )
  })

  test('lead from docs/README.md to every page of docs', () => {
    const index = all.find(({ path }) => path === 'docs/README.md')?.text ?? ''
    const linked = new Set(linksOf(index).map((target) => `docs/${target.replace(/#.*/, '')}`))
    const left = all
      .map(({ path }) => path)
      .filter((path) => /^docs\/(?!README)/.test(path) && !linked.has(path))
    assert.deepEqual(left, [])
  })

  test('that lead nowhere are found', () => {
    const here = {
      path: 'docs/a.md',
      text: '# A `b` [c](../x.md)!\n[1](#a-b-c) [2](#none) [3](../x.md#x) [4](b.md) [5](../../y.md) `[6](z.md)`\n```\n[7](z.md)\n```\n![8](p.png)\n[9]: q.md\n[10](https://a/b.md)',
    }
    assert.deepEqual(
      broken([here, { path: 'x.md', text: '# Y' }], (path) => ['x.md', 'docs/a.md'].includes(path)),
      [
        'docs/a.md: #none: docs/a.md has no such heading',
        'docs/a.md: ../x.md#x: x.md has no such heading',
        'docs/a.md: b.md: there is no docs/b.md',
        'docs/a.md: ../../y.md: there is no ../y.md',
        'docs/a.md: p.png: there is no docs/p.png',
        'docs/a.md: q.md: there is no docs/q.md',
      ],
    )
  })
})
