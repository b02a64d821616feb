import assert from 'node:assert/strict'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigInvalid } from '../../src/errors.ts'

async function folderWith(context: TestContext, files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-config-'))
  context.after(() => rm(folder, { recursive: true }))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  return folder
}

describe('the config file', () => {
  test('is looked for by its name, TypeScript first', async (context) => {
    const folder = await folderWith(context, {
      'tidemark.config.ts': 'const jobs: object = {}\nexport default { jobs }',
      'tidemark.config.mjs': 'export default {}',
    })
    assert.deepEqual(await loadConfig(undefined, folder), {
      config: { jobs: {} },
      file: 'tidemark.config.ts',
    })
  })

  test('may be named, and may export the config by that name', async (context) => {
    const folder = await folderWith(context, { 'mine.mjs': 'export const config = { pollers: {} }' })
    assert.deepEqual((await loadConfig('mine.mjs', folder))?.config, { pollers: {} })
  })

  test('need not be there unless it is named', async (context) => {
    const folder = await folderWith(context, {})
    assert.equal(await loadConfig(undefined, folder), undefined)
    await assert.rejects(loadConfig('gone.ts', folder), { name: 'ConfigInvalid', file: 'gone.ts' })
  })

  test('names the file that it imports and that is missing as seen from here, also by way of a symbolic link', async (context) => {
    const folder = await folderWith(context, { 'lacks.mjs': "import './plans/none.mjs'" })
    const link = join(await folderWith(context, {}), 'link')
    await symlink(folder, link)
    for (const cwd of [folder, link]) {
      await assert.rejects(loadConfig('lacks.mjs', cwd), {
        name: 'ConfigInvalid',
        message: /lacks\.mjs: expected a file that can be imported; plans\/none\.mjs is not there$/m,
      })
    }
  })

  test('that awaits what never comes is given up and named', async (context) => {
    const folder = await folderWith(context, {
      'waits.mjs': 'await new Promise(() => {})\nexport default {}',
    })
    await assert.rejects(loadConfig('waits.mjs', folder, 200), /waits\.mjs: .*not read within 0\.2 s/)
  })

  test('that throws, or cannot be read, is named with the first line of its error', async (context) => {
    const folder = await folderWith(context, {
      'throws.mjs': "throw new RangeError('no such plan\\nat all')",
      'broken.mjs': 'export default {',
      'empty.mjs': 'export default 7',
      'promised.mjs': 'export default (async () => ({ pollers: {} }))()',
    })
    for (const [file, reason] of [
      ['throws.mjs', /throws\.mjs.*RangeError: no such plan$/m],
      ['broken.mjs', /broken\.mjs.*SyntaxError/],
      ['empty.mjs', /an object as default export/],
      ['promised.mjs', /promised\.mjs: expected an object, not a promise of one: put await before it/],
    ] as const) {
      const error = await loadConfig(file, folder).catch((thrown: unknown) => thrown)
      assert.ok(error instanceof ConfigInvalid)
      assert.match(error.message, reason)
    }
  })
})
