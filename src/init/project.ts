import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { CONFIG_FILES } from '../config/load.ts'
import { appNameOf } from './names.ts'

/** What is in the folder already. */
export interface Project {
  readonly folder: string
  readonly app: string
  /** Undefined: there is no package.json. */
  readonly manifest: Manifest | undefined
  /** A config file that a start would find; undefined: none. */
  readonly config: string | undefined
}

/** What package.json says, as far as it matters here. */
export interface Manifest {
  readonly name: string | undefined
  readonly isModule: boolean
  readonly scripts: readonly string[]
  /** Packages of any kind of dependency. */
  readonly packages: readonly string[]
}

/** @param config the config's file where one was named: then no other one is looked for */
export function lookAtProject(folder: string, config?: string): Project {
  const manifest = readManifest(join(folder, 'package.json'))
  const names = config === undefined ? CONFIG_FILES : [config]
  return {
    folder,
    app: appNameOf(manifest?.name ?? basename(folder)),
    manifest,
    config: names.find((name) => existsSync(join(folder, name))),
  }
}

/** What `npm init` writes in the place of a script. */
const NO_SCRIPT = /no test specified/

const NOTHING_SAID: Manifest = { name: undefined, isModule: false, scripts: [], packages: [] }

function readManifest(file: string): Manifest | undefined {
  if (!existsSync(file)) return undefined
  try {
    const read = objectOf(JSON.parse(readFileSync(file, 'utf8')))
    const { name, type, scripts, dependencies, devDependencies } = read
    return {
      name: typeof name === 'string' ? name : undefined,
      isModule: type === 'module',
      scripts: Object.entries(objectOf(scripts))
        .filter(([, script]) => !NO_SCRIPT.test(String(script)))
        .map(([name]) => name),
      packages: Object.keys({ ...objectOf(dependencies), ...objectOf(devDependencies) }),
    }
  } catch {
    // One that npm cannot read either: npm will say so.
    return NOTHING_SAID
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  // Only read by key, and each value is looked at as `unknown`.
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
