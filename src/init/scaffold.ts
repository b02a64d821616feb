import { renderTemplate, type Regions } from './template.ts'
import { commandsFor, withVersions } from './manifest.ts'
import type { ExaminedTable } from './examineTable.ts'
import type { Names } from './names.ts'
import { payloadText } from './payloadText.ts'
import type { Project } from './project.ts'
import { sourceText } from './sourceText.ts'
import { writeDrafts, type Draft, type Written } from './write.ts'

/*
 * What init writes, in this order. The config, its handler and that one's test belong together: where a config is there already,
 * or the table to be polled could not be looked at, none of the three is written, so that the next init can.
 */

/** What the config is made for: a table, an intake, or nothing yet. */
export type Purpose = { readonly table: ExaminedTable } | 'intake' | 'later'

export interface Scaffold {
  readonly written: readonly Written[]
  /** Commands that a package.json that was there still needs. */
  readonly commands: readonly string[]
}

export function scaffold(project: Project, names: Names, purpose: Purpose): Scaffold {
  const { folder, manifest, config } = project
  const isApp = purpose !== 'later' && config === undefined
  const drafts = [
    ...(manifest === undefined ? [manifestDraft(names)] : []),
    ...(isApp ? appDrafts(names, purpose) : []),
    ...FILES.map(([template, path]) => draft(template, path, names, flyRegions(purpose))),
  ]
  const kept = [
    ...(manifest === undefined ? [] : ['package.json']),
    ...(config === undefined ? [] : [config]),
  ]
  return {
    written: [...kept.map((path) => ({ path, how: 'kept' as const })), ...writeDrafts(folder, drafts)],
    commands: manifest === undefined ? [] : commandsFor(manifest, manifestDraft(names).text),
  }
}

/** Templates that are the same for every app but for its names, and where they go. */
const FILES = [
  ['tsconfig.json', 'tsconfig.json'],
  ['Dockerfile', 'Dockerfile'],
  ['dockerignore', '.dockerignore'],
  ['fly.toml', 'fly.toml'],
  // npm leaves a .gitignore out of a package.
  ['gitignore', '.gitignore'],
] as const

function draft(template: string, path: string, names: Names, regions: Regions = {}): Draft {
  return { path, text: renderTemplate(template, names, regions) }
}

function manifestDraft(names: Names): Draft {
  return { path: 'package.json', text: withVersions(renderTemplate('package.json', names, {})) }
}

function appDrafts(names: Names, purpose: Exclude<Purpose, 'later'>): Draft[] {
  const { source, config, extension } = names
  const regions = purpose === 'intake' ? {} : tableRegions(source, purpose.table)
  return [
    draft('tidemark.config.ts', config, names, regions),
    draft('handlers/orders.ts', `handlers/${source}.${extension}`, names, regions),
    draft('handlers/orders.test.ts', `handlers/${source}.test.${extension}`, names, regions),
  ]
}

function tableRegions(source: string, table: ExaminedTable): Regions {
  const { type, sample } = payloadText(source, table.look, table.guess)
  return { source: sourceText(source, table), payload: type, sample }
}

/** Without an intake nothing is asked from outside. */
function flyRegions(purpose: Purpose): Regions {
  return purpose === 'intake' ? {} : { http: [], tokens: [] }
}
