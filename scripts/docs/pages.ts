import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { format, resolveConfig } from 'prettier'
import { describeMeasured } from './measured.ts'
import { describeOptions } from './options.ts'
import { describeRelations } from './relations.ts'
import { describeSettings } from './settings.ts'
import { describeVerbs } from './verbs.ts'

export const ROOT = resolve(import.meta.dirname, '../..')

/** What stands between these two lines of a page is made here; the rest of it is written by hand. */
const BEGIN = /<!-- made by `npm run docs`: (\w+) -->/
const END = '<!-- end -->'

/** The pages that have such a part. */
const PAGES = ['docs/cli.md', 'docs/configuration.md', 'docs/incidents.md', 'docs/sql.md']

const PARTS: Readonly<Record<string, () => string | Promise<string>>> = {
  settings: describeSettings,
  options: () => describeOptions(ROOT),
  verbs: () => describeVerbs(ROOT),
  relations: () => describeRelations(readFileSync(join(ROOT, 'sql/schema.txt'), 'utf8')),
  measured: () => describeMeasured(readFileSync(join(ROOT, 'docs/faults.md'), 'utf8')),
}

/** Every page with its parts made anew, by path. */
export async function generatedPages(): Promise<Map<string, string>> {
  const pages = await Promise.all(PAGES.map(async (path) => [path, await made(path)] as const))
  return new Map(pages)
}

async function made(path: string): Promise<string> {
  const text = await withParts(path, readFileSync(join(ROOT, path), 'utf8'))
  return format(text, { ...(await resolveConfig(join(ROOT, path))), parser: 'markdown' })
}

async function withParts(path: string, text: string): Promise<string> {
  const begin = BEGIN.exec(text)
  if (begin === null) return text
  const [line, name = ''] = begin
  const rest = text.slice(begin.index + line.length)
  const end = rest.indexOf(END)
  const part = PARTS[name]
  if (end < 0 || part === undefined)
    throw new Error(`${path}: ${line} has no end, or there is no part ${name}`)
  const after = await withParts(path, rest.slice(end + END.length))
  return `${text.slice(0, begin.index)}${line}\n\n${await part()}\n\n${END}${after}`
}
