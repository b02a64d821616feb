import type { Command } from 'commander'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EXIT } from '../../src/cli/exitCodes.ts'
import type { Ending } from '../../src/cli/verb.ts'

/** A verb's module has what makes its parser; nothing else of it is called here. */
type Verbs = Readonly<Record<string, ((ending: Ending) => Command) | undefined>>

/** In the order of `--help`, as main.ts lists and loads them. */
const LISTED = /^ {2}(\w+): async \(\) => \(await import\('\.\/(commands\/[\w/]+\.ts)'\)\)\.(\w+),$/gm

/** Every verb as its parser knows it: what it does, arguments, flags. */
export async function describeVerbs(root: string): Promise<string> {
  const verbs = await loadVerbs(root)
  return verbs.flatMap((verb) => sectionsOf(verb, 'tidemark')).join('\n\n')
}

/** The parsers of all verbs. */
export async function loadVerbs(root: string): Promise<Command[]> {
  const listed = [...readFileSync(join(root, 'src/cli/main.ts'), 'utf8').matchAll(LISTED)]
  return Promise.all(
    listed.map(async ([, name = '', file = '', made = '']) => {
      const module = (await import(join(root, 'src/cli', file))) as Verbs
      const verb = module[made]?.({ code: EXIT.done })
      if (verb?.name() !== name) throw new Error(`main.ts says that ${file} has ${name}, and it does not`)
      return verb
    }),
  )
}

function sectionsOf(verb: Command, above: string): string[] {
  const name = `${above} ${verb.name()}`
  const help = verb.createHelp()
  if (verb.commands.length > 0)
    return [
      `### \`${name}\``,
      `${verb.description()}: ${verb.commands.map((one) => `\`${one.name()}\``).join(', ')}.`,
      ...verb.commands.flatMap((one) => sectionsOf(one, name)),
    ]
  const args = help
    .visibleArguments(verb)
    .map((one) => `- \`${help.argumentTerm(one)}\`: ${help.argumentDescription(one)}`)
  const flags = help
    .visibleOptions(verb)
    .filter((one) => one.long !== '--help' && one.long !== '--config')
    .map((one) => `- \`${help.optionTerm(one)}\`: ${help.optionDescription(one)}`)
  return [
    `${'#'.repeat(above === 'tidemark' ? 3 : 4)} \`${name}${usageOf(verb)}\``,
    verb.description(),
    [...args, ...flags].join('\n'),
  ].filter((part) => part !== '')
}

function usageOf(verb: Command): string {
  return verb.registeredArguments
    .map((one) => (one.required ? ` <${one.name()}>` : ` [${one.name()}]`))
    .join('')
}
