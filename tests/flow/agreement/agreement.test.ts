import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StatusDocument } from '../../../src/tables/status.ts'
import { METRICS } from '../../../src/telemetry/metrics/catalog.ts'
import { ALONE, ALONE_FIELDS } from './alone.ts'
import { keyOf, NUMBERS, subjectsOf } from './numbers.ts'
import type { Numbered, Told } from './numbers.ts'
import { COLLECTIONS, look } from './seen.ts'
import type { Collection, Row, Seen } from './seen.ts'
import { frozenWorld } from './world.ts'

/** Between the moment of a reading that is reckoned with and the real one; and pages round to a second, or to a minute after an hour. */
const APART_S = 3
const ROUNDED_S = 60

/** In which list of the document a task is. */
const TASK_LISTS = { pollers: 'poller', processors: 'processor', jobs: 'job' } as const

test('command line, SQL, HTTP, dashboard and metrics tell the same numbers of a busy system at rest', async (t) => {
  const world = await frozenWorld(t)
  const seen = await look(world)
  let compared = 0

  await t.test('every number has the same value for all who tell it', () => {
    for (const number of NUMBERS)
      for (const subject of subjectsOf(number, seen)) {
        const told = toldOf(number, seen, subject)
        const what = `${number.field ?? number.metrics?.join() ?? 'a number'} of ${subject}: ${JSON.stringify(told)}`
        const values = Object.entries(told)
        assert.ok(values.length > 1, `only one tells ${what}`)
        for (const [who, value] of values) assert.notEqual(value, undefined, `${who} does not tell ${what}`)
        const [[, first]] = values as [[string, Told]]
        for (const [who, value] of values)
          assert.ok(isSame(first, value, number.grows === true), `${who} differs: ${what}`)
        compared += 1
      }
    assert.ok(compared > 100, `only ${compared} numbers`)
  })
  t.diagnostic(`${compared} numbers`)

  await t.test('verdicts are the same, and so are the marks of verify', () => {
    const findings = ({ verdict }: StatusDocument) =>
      verdict.findings.map(({ kind, subject }) => [kind, subject])
    assert.deepEqual(findings(seen.cli), findings(seen.http))
    assert.deepEqual(seen.verifyCli, seen.verifySql)
    for (const { text } of seen.http.verdict.findings.filter(({ kind }) => kind === 'dead_messages'))
      assert.ok(seen.pages.now.text.includes(text), text)
  })

  await t.test('every number of the status document and of its views has a line in the table', () => {
    const known = new Set(
      NUMBERS.flatMap(({ of, field, column }) =>
        typeof of === 'function' || field === undefined
          ? []
          : of === 'tasks'
            ? [...Object.keys(TASK_LISTS).map((list) => `${list}.${field}`), `task_status.${field}`]
            : [`${of}.${field}`, `${COLLECTIONS[of].view ?? ''}.${column ?? field}`],
      ),
    )
    const there = [
      ...Object.keys(COLLECTIONS).flatMap((list) => numbersIn(list, seen.cli[list as Collection])),
      ...[...seen.views].flatMap(([view, rows]) => numbersIn(view, rows)),
    ]
    assert.deepEqual(
      there.filter(
        (name) =>
          !known.has(name) && ALONE_FIELDS[name] === undefined && ALONE_FIELDS[asStatus(name)] === undefined,
      ),
      [],
    )
  })

  await t.test('every metric has a line in the table, or a reason to have none', () => {
    const known = new Set<string>([...NUMBERS.flatMap(({ metrics = [] }) => metrics), ...Object.keys(ALONE)])
    assert.deepEqual(
      Object.keys(METRICS).filter((name) => !known.has(name)),
      [],
    )
  })
})

function toldOf(number: Numbered, seen: Seen, subject: string): Record<string, Told> {
  const { of, field, column, others, grows = false } = number
  const told: Record<string, Told> = {}
  if (typeof of !== 'function' && field !== undefined) {
    for (const reader of ['cli', 'http'] as const)
      told[reader] = numberIn(rowIn(seen[reader], of, subject), field, reader, seen, grows)
    const view = of === 'tasks' ? 'task_status' : COLLECTIONS[of].view
    if (view !== undefined && column !== null) {
      const row = seen.views
        .get(view)
        ?.find((one) => (of === 'tasks' ? one['task_name'] : keyOf(of, one)) === subject)
      told[view] = numberIn(row, column ?? field, 'sql', seen, grows)
    }
  }
  for (const [who, value] of Object.entries(others?.(seen, subject) ?? {}))
    told[who] = grows ? atZero(value, seen, PLACE[who] ?? 'sql') : value
  return told
}

/** When each of them was read. */
const PLACE: Readonly<Record<string, string>> = { '/metrics': 'metrics', '/': 'page', 'its page': 'tasks' }

function rowIn(document: StatusDocument, of: Collection | 'tasks', subject: string): Row | undefined {
  const rowsOf = (list: Collection): readonly Row[] => document[list] as unknown as readonly Row[]
  if (of !== 'tasks') return rowsOf(of).find((row) => keyOf(of, row) === subject)
  return Object.entries(TASK_LISTS)
    .flatMap(([list, key]) => rowsOf(list as Collection).filter((row) => row[key] === subject))
    .at(0)
}

function numberIn(row: Row | undefined, name: string, reader: string, seen: Seen, grows: boolean): Told {
  const value = row?.[name]
  if (value !== null && typeof value !== 'number') return undefined
  return grows ? atZero(value, seen, reader) : value
}

/** What a number that grows with the clock was when the first was read. */
function atZero(value: Told, { at }: Seen, reader: string): Told {
  return typeof value === 'number'
    ? value - ((at[reader] ?? Number.NaN) - Math.min(...Object.values(at)))
    : value
}

function isSame(one: Told, other: Told, grows: boolean): boolean {
  if (typeof one !== 'number' || typeof other !== 'number' || !grows) return one === other
  return Math.abs(one - other) <= APART_S + (one > 3_600 ? ROUNDED_S : 0)
}

/** Names of what is a number in at least one row. */
function numbersIn(list: string, rows: unknown): string[] {
  return [
    ...new Set(
      (rows as readonly Row[]).flatMap((row) =>
        Object.entries(row).flatMap(([name, value]) =>
          typeof value === 'number' ? [`${list}.${name}`] : [],
        ),
      ),
    ),
  ]
}

/** A view's column by the name of the document's field. */
function asStatus(name: string): string {
  const [view = '', column = ''] = name.split('.')
  const list = Object.entries(COLLECTIONS).find(([, one]) => one.view === view)?.[0] ?? view
  return `${list}.${column}`
}
