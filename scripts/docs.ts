import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generatedPages, ROOT } from './docs/pages.ts'

/*
 * npm run docs: writes what the pages of docs/ say of settings, options, verbs and tables, from where these are declared.
 * `tests/docs/generated.test.ts` fails when one of them is out of date.
 */

for (const [path, text] of await generatedPages()) {
  const file = join(ROOT, path)
  const isNew = readFileSync(file, { encoding: 'utf8', flag: 'a+' }) !== text
  if (isNew) writeFileSync(file, text)
  process.stdout.write(`${isNew ? 'written  ' : 'unchanged'} ${path}\n`)
}
