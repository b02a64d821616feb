import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'

/** What a user writes, in the order in which it is told: the interface, and where its options stand in a config. */
const TOLD: readonly (readonly [heading: string, interfaces: readonly string[]])[] = [
  ['The config', ['TidemarkConfig']],
  ['`pollers.NAME`', ['PollerConfig']],
  ['`pollers.NAME.source`', ['SourceConfig']],
  ['`intakes.NAME`', ['IntakeConfig']],
  [
    '`processors.NAME`',
    [
      'ProcessorBase',
      'TransactionalProcessorConfig',
      'ExternalProcessorConfig',
      'BatchProcessorConfig',
      'DeliveringProcessorConfig',
    ],
  ],
  ['`processors.NAME.deliver`', ['DeliverConfig']],
  ['`jobs.NAME`', ['JobConfig']],
  ['What a handler is given', ['Message', 'HandlerContext', 'TransactionalContext', 'Job']],
  ['`send(job, data, options)`', ['SendOptions']],
]

const PLAIN: ReadonlySet<string> = new Set(['ProcessorBase'])

/** Every option of a config file, as src/config/types.ts declares it. */
export function describeOptions(root: string): string {
  const { file, declared } = typesOf(root)
  const sections = TOLD.map(([heading, names]) => {
    const parts = names.map((name) => {
      const one = declared.get(name)
      if (one === undefined) throw new Error(`${file.fileName} declares no interface ${name}`)
      const of = names.length === 1 || PLAIN.has(name) ? [] : [`_${name}_`]
      return [...of, docOf(one), one.members.map((member) => itemOf(member, file)).join('\n')].join('\n\n')
    })
    return [`### ${heading}`, ...parts].join('\n\n')
  })
  return sections.join('\n\n')
}

/** Names of the options that an interface of the file declares. */
export function optionNames(root: string, name: string): string[] {
  const { file, declared } = typesOf(root)
  return (declared.get(name)?.members ?? []).map((member) => member.name?.getText(file) ?? '')
}

function typesOf(root: string) {
  const path = join(root, 'src/config/types.ts')
  const file = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
  const declared = new Map(
    file.statements.filter(ts.isInterfaceDeclaration).map((one) => [one.name.text, one]),
  )
  return { file, declared }
}

function itemOf(member: ts.TypeElement, file: ts.SourceFile): string {
  const name = member.name?.getText(file) ?? ''
  const isOptional = member.questionToken !== undefined
  const doc = docOf(member)
  return `- \`${name}${isOptional ? '?' : ''}: ${typeOf(member, file)}\`${doc === '' ? '' : `: ${doc}`}`
}

function typeOf(member: ts.TypeElement, file: ts.SourceFile): string {
  const text = ts.isPropertySignature(member)
    ? (member.type?.getText(file) ?? '')
    : ts.isMethodSignature(member)
      ? `() => ${member.type?.getText(file) ?? 'void'}`
      : ''
  return text.replace(/\/\*\*[^]*?\*\//g, '').replace(/\s+/g, ' ')
}

function docOf(node: ts.Node): string {
  const [doc] = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc)
  const text = ts.getTextOfJSDocComment(doc?.comment) ?? ''
  return text.replace(/\s+/g, ' ').trim()
}
