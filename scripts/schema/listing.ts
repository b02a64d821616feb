import { readFileSync } from 'node:fs'
import type { Queryable } from '../../src/db/pool.ts'
import { splitStatements } from '../../src/db/statements.ts'

const path = `${import.meta.dirname}/catalog.sql`
const statements = splitStatements(readFileSync(path, 'utf8'), path)

interface Thing {
  readonly title: string
  readonly comment: string | null
}

interface Defined extends Thing {
  readonly acl: string | null
  readonly definition: string | null
}

/** Something that belongs to a relation: a column, a constraint, an index, a trigger. */
interface Member {
  readonly oid: string
  readonly line: string
  readonly comment: string | null
}

/** Everything in a schema as text: the same for the same schema, on any server and in any order of creation. */
export async function listSchema(client: Queryable, schema: string): Promise<string> {
  const rows = async <R extends object>(name: string): Promise<R[]> =>
    (await client.query<R & Record<string, unknown>>(statement(name), [schema])).rows
  const relations = await rows<Defined & { oid: string }>('relations')
  const members: Member[] = []
  for (const kind of ['columns', 'constraints', 'indexes', 'triggers'])
    members.push(...(await rows<Member>(kind)))
  const listed = relations.map((relation) => {
    const own = members.filter(({ oid }) => oid === relation.oid)
    return [
      ...defined(relation),
      ...own.flatMap(({ line, comment }) => [`  ${line}`, ...commentLines(comment, 2)]),
    ]
  })
  const functions = (await rows<Defined>('functions')).map(defined)
  const types = (await rows<Thing>('types')).map(({ title, comment }) => [title, ...commentLines(comment, 1)])
  return `${[...types, ...listed, ...functions].map((lines) => lines.join('\n')).join('\n\n')}\n`
}

/** Names of what should carry a COMMENT and does not: relations, columns, functions, the schema. */
export async function listUncommented(client: Queryable, schema: string): Promise<string[]> {
  const { rows } = await client.query<{ what: string }>(statement('uncommented'), [schema])
  return rows.map(({ what }) => what)
}

function defined({ title, comment, acl, definition }: Defined): string[] {
  return [
    title,
    ...commentLines(comment, 1),
    ...(acl === null ? [] : [`  access ${acl}`]),
    ...(definition === null ? [] : indented(definition, 1)),
  ]
}

function commentLines(comment: string | null, depth: number): string[] {
  return comment === null ? [] : indented(`-- ${comment.replaceAll('\n', '\n-- ')}`, depth)
}

function indented(text: string, depth: number): string[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `${'  '.repeat(depth)}${line}`.trimEnd())
}

function statement(name: string): string {
  const text = statements.get(name)
  if (text === undefined) throw new Error(`${path} has no statement ${name}`)
  return text
}
