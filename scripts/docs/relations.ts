interface Described {
  readonly kind: string
  readonly name: string
  readonly comment: string
  readonly columns: readonly (readonly [name: string, type: string, comment: string])[]
}

/** Functions that are for the system itself. */
const FOR_PEOPLE: ReadonlySet<string> = new Set(['trace', 'verify'])

/** What people look at first. */
const FIRST = ['poller_status', 'processor_status', 'task_status', 'instance_status', 'slot_status']

/** Tables, views and functions with the COMMENTs that they carry, from the listing of the schema. */
export function describeRelations(listing: string): string {
  const all = listing.split('\n\n').flatMap((section) => described(section.split('\n')))
  const views = all.filter(({ kind }) => kind === 'view')
  const rank = ({ name }: Described): number => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length)
  const functions = all.filter(
    ({ kind, name }) => kind === 'function' && FOR_PEOPLE.has(name.replace(/\(.*/, '')),
  )
  return [
    '### Views',
    ...views.toSorted((a, b) => rank(a) - rank(b)).map(sectionOf),
    '### Functions',
    functions.map(({ name, comment }) => `- \`service_ops.${name}\`: ${comment}`).join('\n'),
    '### Tables',
    ...all.filter(({ kind }) => kind === 'table').map(sectionOf),
  ].join('\n\n')
}

function sectionOf({ name, comment, columns }: Described): string {
  const items = columns.map(([column, type, text]) => `- \`${column}\` ${type}: ${text}`)
  return `#### \`${name}\`\n\n${comment}\n\n${items.join('\n')}`
}

/** One section of the listing; a sequence has nothing to tell. */
function described(lines: readonly string[]): Described[] {
  const [, kind = '', name = ''] =
    /^(table|view|function) service_ops\.(.+?)(?: with \(.*)?$/.exec(lines[0] ?? '') ?? []
  if (kind === '') return []
  const comments: string[] = []
  for (const line of lines.slice(1)) {
    const comment = /^ {2}-- ?(.*)$/.exec(line)?.[1]
    if (comment === undefined) break
    comments.push(comment)
  }
  const columns = lines.flatMap((line, at): [string, string, string][] => {
    const [, column = '', rest = ''] = /^ {2}([a-z_]+) (\S.*)$/.exec(line) ?? []
    const comment = /^ {4}-- (.*)$/.exec(lines[at + 1] ?? '')?.[1]
    if (column === '' || column === 'constraint' || comment === undefined) return []
    return [[column, rest.replace(/ (?:not null|default|generated).*$/, ''), comment]]
  })
  return [{ kind, name, comment: comments.join(' '), columns }]
}
