import { globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const ROOT = resolve(import.meta.dirname, '../..')

/** A page of the project, as far as its links and blocks go. */
export interface Page {
  /** From the root, with `/`. */
  readonly path: string
  readonly text: string
}

/** Every page that people read. */
export function pages(): Page[] {
  return globSync('**/*.md', { cwd: ROOT, exclude: ['**/node_modules', '**/.*', 'dist', 'coverage'] })
    .map((path) => path.replaceAll('\\', '/'))
    .toSorted()
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
}

export interface Block {
  readonly language: string
  readonly text: string
}

/** What stands between fences, with its language. */
export function blocksOf(text: string): Block[] {
  return [...text.matchAll(/^```(\w*)[^\n]*\n([^]*?)^```$/gm)].map(([, language = '', inner = '']) => ({
    language,
    text: inner,
  }))
}

/** The text without blocks, code and comments, in which nothing is a link or a heading. */
export function prose(text: string): string {
  return text
    .replace(/^```[^]*?^```$/gm, '')
    .replace(/<!--[^]*?-->/g, '')
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()#<>]/g, ' '))
}

/** Where the links and pictures of a page lead. */
export function linksOf(text: string): string[] {
  const inline = [...prose(text).matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g)]
  const named = [...prose(text).matchAll(/^\[[^\]]+\]:\s*(\S+)/gm)]
  return [...inline, ...named].map(([, target = '']) => target)
}

/** The anchors that GitHub gives the headings of a page. */
export function anchorsOf(text: string): Set<string> {
  const found = new Set<string>()
  const plain = text.replace(/^```[^]*?^```$/gm, '').replace(/<!--[^]*?-->/g, '')
  for (const [, heading = ''] of plain.matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const slug = heading
      .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '')
      .replaceAll(' ', '-')
    let anchor = slug
    for (let n = 1; found.has(anchor); n += 1) anchor = `${slug}-${n}`
    found.add(anchor)
  }
  return found
}
