import { readTree, type SourceFile } from './tree.ts'

/** One place where the tree breaks a rule. */
export interface Violation {
  readonly file: string
  readonly what: string
  readonly reason: string
}

/** Floors of `src`, from the ground up: a file imports from its own floor and from those below. */
const FLOORS: readonly (readonly string[])[] = [
  ['kit', 'errors.ts', 'errors'],
  ['config', 'db', 'telemetry'],
  ['tables'],
  ['ingest', 'process', 'leader', 'jobs', 'http'],
  ['runner.ts', 'runner'],
  ['index.ts', 'cli', 'rehearse', 'doctor', 'init', 'demo', 'testing'],
]

/** Its parts stand side by side: what one needs of another is given to it by the runner. */
const FLOOR_OF_PARTS = 3

const LINES = { src: 300, tests: 400, scripts: 300 }

const DRAWERS = new Set(['util', 'utils', 'helper', 'helpers', 'common', 'lib', 'misc', 'manager', 'shared'])

/** Where SQL is put together after all, or only shown to a person, and why no value from outside can become a part of it. */
const SQL_MADE: Readonly<Record<string, string>> = {
  'src/db/blocker.ts': 'shown, not run: a pid, which is a number',
  'src/db/migrate/lock.ts': 'shown, not run: a pid, which is a number',
  'src/db/transaction.ts': 'numbers of parameters',
  'src/doctor/cursorIndex.ts': 'EXPLAIN before a statement of ours',
  'src/doctor/transactions.ts': 'shown, not run: a pid, which is a number',
  'src/http/dashboard/pages/message.ts': 'shown, not run: a number',
  'src/ingest/sourceSql.ts': 'names of columns as texts, which PostgreSQL gave and which are escaped',
  'src/process/getOrCreate.ts': 'quoted names and numbers of parameters',
  'src/process/withRowLock.ts': 'quoted names and numbers of parameters',
  'src/tables/invariant.ts': 'the queries of our own invariants, as verify() runs them',
  'src/tables/wake.ts': 'the body of a trigger takes no parameters: the name of a poller, escaped',
}

type Rule = (file: SourceFile, tree: readonly SourceFile[]) => Violation[]

const RULES: readonly Rule[] = [floors, pgBoss, processOwner, sqlFromParts, size, drawers]

/** Every violation in the tree at `root`, in order of files. */
export function findViolations(root: string): Violation[] {
  const tree = readTree(root)
  return [...tree.flatMap((file) => RULES.flatMap((rule) => rule(file, tree))), ...cycles(tree)]
}

function floors({ path, imports }: SourceFile): Violation[] {
  if (!path.startsWith('src/')) return []
  const part = partOf(path)
  const floor = floorOf(part)
  if (floor === undefined) {
    return [
      { file: path, what: 'is on no floor', reason: `FLOORS in the check must say where ${part} belongs` },
    ]
  }
  return imports.flatMap((imported) => {
    const target = partOf(imported)
    const targetFloor = floorOf(target)
    if (!imported.startsWith('src/')) {
      return [
        {
          file: path,
          what: `imports ${imported}`,
          reason: 'src is published alone: nothing outside it is there',
        },
      ]
    }
    if (targetFloor === undefined || targetFloor < floor || target === part) return []
    if (targetFloor > floor) {
      const reason = `imports go down only: ${part} is on floor ${floor}, ${target} on floor ${targetFloor}`
      return [{ file: path, what: `imports ${imported}`, reason }]
    }
    if (floor !== FLOOR_OF_PARTS) return []
    const reason = `the parts never import each other: the runner gives ${part} what it needs of ${target}`
    return [{ file: path, what: `imports ${imported}`, reason }]
  })
}

function pgBoss({ path, packages }: SourceFile): Violation[] {
  if (!path.startsWith('src/') || path.startsWith('src/jobs/') || !packages.includes('pg-boss')) return []
  const reason = 'only src/jobs knows pg-boss, so that one folder has to change when pg-boss does'
  return [{ file: path, what: 'imports pg-boss', reason }]
}

function processOwner({ path, packages, processUses }: SourceFile): Violation[] {
  if (!path.startsWith('src/') || path.startsWith('src/cli/')) return []
  const reason =
    'arguments, signals and exit belong to src/cli: everything else runs inside servers that are not ours'
  const uses = [...processUses, ...packages.filter((name) => name === 'node:process' || name === 'process')]
  return uses.map((use) => ({ file: path, what: `uses ${use}`, reason }))
}

function sqlFromParts({ path, builtSql }: SourceFile): Violation[] {
  if (path in SQL_MADE) return []
  const reason =
    'statements are in sql/, values are parameters, names are quoted by db/identifier.ts: what is built out of values can be broken out of'
  return builtSql.map((text) => ({ file: path, what: `builds SQL: ${text}`, reason }))
}

function size({ path, lines }: SourceFile): Violation[] {
  const limit = path.startsWith('src/') ? LINES.src : path.startsWith('tests/') ? LINES.tests : LINES.scripts
  if (lines <= limit) return []
  const reason = `${limit} lines at most: a file that wants more holds two things`
  return [{ file: path, what: `has ${lines} lines`, reason }]
}

function drawers({ path }: SourceFile): Violation[] {
  const words = path
    .replace(/\.ts$/, '')
    .split(/[/.\-_]|(?<=[a-z])(?=[A-Z])/)
    .map((word) => word.toLowerCase())
  const drawer = words.find((word) => DRAWERS.has(word))
  if (drawer === undefined) return []
  const reason = 'such a name says nothing of what is inside, and so takes in everything'
  return [{ file: path, what: `is named "${drawer}"`, reason }]
}

/** Each cycle of imports once, at the file from which it was found first. */
function cycles(tree: readonly SourceFile[]): Violation[] {
  const files = new Map(tree.map((file) => [file.path, file]))
  const done = new Set<string>()
  const found: Violation[] = []
  const visit = (path: string, above: readonly string[]): void => {
    const start = above.indexOf(path)
    if (start >= 0) {
      const what = `is in a cycle: ${[...above.slice(start), path].join(' → ')}`
      found.push({ file: path, what, reason: 'files that import each other can only be understood together' })
      return
    }
    if (done.has(path)) return
    for (const imported of files.get(path)?.imports ?? []) visit(imported, [...above, path])
    done.add(path)
  }
  for (const path of files.keys()) visit(path, [])
  return found
}

/** `ingest` of `src/ingest/pass.ts`, `runner.ts` of `src/runner.ts`. */
function partOf(path: string): string {
  return path.split('/')[1] ?? path
}

function floorOf(part: string): number | undefined {
  const floor = FLOORS.findIndex((parts) => parts.includes(part))
  return floor < 0 ? undefined : floor
}
