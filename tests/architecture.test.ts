import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { findViolations } from '../scripts/check/rules.ts'

function plant(t: TestContext, files: Record<string, string>): string[] {
  const root = mkdtempSync(join(tmpdir(), 'tidemark-tree-'))
  t.after(() => rmSync(root, { recursive: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return findViolations(root).map(({ file, what }) => `${file} ${what}`)
}

const planted: Record<string, { files: Record<string, string>; found: string[] }> = {
  'a lower floor that imports an upper one': {
    files: { 'src/db/pool.ts': `import { a } from '../tables/a.ts'`, 'src/tables/a.ts': '' },
    found: ['src/db/pool.ts imports src/tables/a.ts'],
  },
  'an upward import of a type': {
    files: { 'src/kit/loop.ts': `import type { A } from '../db/a.ts'`, 'src/db/a.ts': '' },
    found: ['src/kit/loop.ts imports src/db/a.ts'],
  },
  'an upward dynamic import and an upward re-export': {
    files: {
      'src/tables/a.ts': `export const a = () => import('../http/app.ts')`,
      'src/tables/b.ts': `export { a } from '../runner.ts'`,
      'src/http/app.ts': '',
      'src/runner.ts': '',
    },
    found: ['src/tables/a.ts imports src/http/app.ts', 'src/tables/b.ts imports src/runner.ts'],
  },
  'a part that imports another part': {
    files: { 'src/ingest/pass.ts': `import '../process/claim.ts'`, 'src/process/claim.ts': '' },
    found: ['src/ingest/pass.ts imports src/process/claim.ts'],
  },
  'a source that imports a test or a script': {
    files: { 'src/db/pool.ts': `import '../../tests/support/until.ts'`, 'tests/support/until.ts': '' },
    found: ['src/db/pool.ts imports tests/support/until.ts'],
  },
  'a folder that has no floor': {
    files: { 'src/extras/a.ts': '' },
    found: ['src/extras/a.ts is on no floor'],
  },
  'pg-boss outside src/jobs': {
    files: {
      'src/runner.ts': `import type { PgBoss } from 'pg-boss'`,
      'src/jobs/boss.ts': `import 'pg-boss'`,
    },
    found: ['src/runner.ts imports pg-boss'],
  },
  'arguments, exit and signals outside src/cli': {
    files: {
      'src/runner.ts': `process.exit(1); process.exitCode = 2; use(process.argv)\nprocess.once('SIGTERM', stop)`,
      'src/http/app.ts': `import { exit } from 'node:process'`,
      'src/jobs/a.ts': `for (const name of names) process.on(name, stop)`,
      'src/cli/main.ts': `process.on('SIGINT', stop); process.exit(0)`,
      'src/telemetry/log.ts': `process.on('warning', say); const text = 'process.exit(1)'`,
    },
    found: [
      'src/http/app.ts uses node:process',
      "src/jobs/a.ts uses process.on('name')",
      'src/runner.ts uses process.exit',
      'src/runner.ts uses process.exitCode',
      'src/runner.ts uses process.argv',
      "src/runner.ts uses process.on('SIGTERM')",
    ],
  },
  'a statement that is built out of values': {
    files: {
      'src/tables/a.ts': 'db.query(`SELECT * FROM t WHERE id = ${id}`)',
      'src/tables/b.ts':
        "const text = all ? sql.all : 'SELECT 1 WHERE ' + condition\nawait db.query<Row>(text, [])",
      'src/tables/c.ts': "export const made = (name) => `UPDATE t SET name = '${name}'`",
      'src/tables/d.ts': 'const at = pg.escapeLiteral(time)',
      'src/db/e.ts': 'db.query(`LISTEN ${channel}`)',
      'src/db/f.ts':
        "db.query(`LOCK ${quoteQualified(t)}`); db.query(`CREATE DATABASE ${OWNER}`); db.query('SELECT 1 ' + 'FROM t')\nconst told = `SELECTED ${n}`; const fix = `ALTER TABLE ${t} RESET (x)`; db.query(fillIdentifiers(sql.x, { t }), [id])",
      'src/process/getOrCreate.ts': 'tx.query(`SELECT * FROM ${names.join()}`)',
      'tests/a.test.ts': 'db.query(`SELECT ${n}`)',
    },
    found: [
      'src/db/e.ts builds SQL: `LISTEN ${channel}`',
      'src/tables/a.ts builds SQL: `SELECT * FROM t WHERE id = ${id}`',
      "src/tables/b.ts builds SQL: 'SELECT 1 WHERE ' + condition",
      "src/tables/c.ts builds SQL: `UPDATE t SET name = '${name}'`",
      'src/tables/d.ts builds SQL: pg.escapeLiteral(time)',
    ],
  },
  'a file that grew too long': {
    files: {
      'src/db/long.ts': 'a\n'.repeat(301),
      'src/db/full.ts': 'a\n'.repeat(300),
      'tests/db/long.test.ts': 'a\n'.repeat(401),
      'tests/db/full.test.ts': 'a\n'.repeat(400),
    },
    found: ['src/db/long.ts has 301 lines', 'tests/db/long.test.ts has 401 lines'],
  },
  'a drawer': {
    files: { 'src/kit/stringUtils.ts': '', 'tests/helpers/a.ts': '', 'src/db/library.ts': '' },
    found: ['src/kit/stringUtils.ts is named "utils"', 'tests/helpers/a.ts is named "helpers"'],
  },
  'files that import each other': {
    files: {
      'src/db/a.ts': `import './b.ts'`,
      'src/db/b.ts': `import './c.ts'`,
      'src/db/c.ts': `import './a.ts'`,
      'src/db/d.ts': `import './a.ts'`,
    },
    found: ['src/db/a.ts is in a cycle: src/db/a.ts → src/db/b.ts → src/db/c.ts → src/db/a.ts'],
  },
}

describe('the architecture check', () => {
  for (const [what, { files, found }] of Object.entries(planted)) {
    test(`finds ${what}`, (t) => {
      assert.deepEqual(plant(t, files), found)
    })
  }

  test('is content with imports that go down, and between the files of one part', (t) => {
    const files = {
      'src/runner.ts': `import './ingest/pass.ts'\nimport pg from 'pg'`,
      'src/ingest/pass.ts': `import './page.ts'\nimport '../tables/a.ts'\nimport '../errors.ts'`,
      'src/ingest/page.ts': `import '../db/pool.ts'`,
      'src/tables/a.ts': '',
      'src/db/pool.ts': `import '../telemetry/log.ts'`,
      'src/telemetry/log.ts': '',
      'src/errors.ts': '',
    }
    assert.deepEqual(plant(t, files), [])
  })

  test('finds nothing in this tree', () => {
    assert.deepEqual(findViolations(resolve(import.meta.dirname, '..')), [])
  })
})
