import { existsSync, realpathSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { ConfigInvalid } from '../errors.ts'
import { within } from '../kit/within.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { TidemarkConfig } from './types.ts'

/** Looked for in this order when no file is named. */
export const CONFIG_FILES = ['ts', 'mts', 'js', 'mjs'].map((extension) => `tidemark.config.${extension}`)

/** A config may ask somebody for its values; one that awaits for ever would leave a process without a word. */
const LOAD_LIMIT_MS = 30_000

/** A config as its file gave it; not checked yet. */
export interface LoadedConfig {
  readonly config: TidemarkConfig
  /** As it is shown: relative to the folder that the search began in. */
  readonly file: string
}

/**
 * Imports the config file: the one named, else `./tidemark.config.{ts,mts,js,mjs}`; undefined when none is
 * named and none found. The config is the default export, or the export named `config`.
 * @throws {ConfigInvalid} when the named file is missing, throws while it is read, or exports no object.
 */
export async function loadConfig(
  file: string | undefined,
  cwd: string,
  limitMs = LOAD_LIMIT_MS,
): Promise<LoadedConfig | undefined> {
  const path = file === undefined ? findConfig(cwd) : resolve(cwd, file)
  if (path === undefined) return undefined
  const shown = relative(cwd, path)
  if (!existsSync(path))
    throw new ConfigInvalid([{ what: shown, expected: 'a file that is there' }], { file: shown })

  const exported = await importFile(path, shown, cwd, limitMs)
  const config = exported['default'] ?? exported['config']
  if (typeof config !== 'object' || config === null) {
    const expected = 'an object as default export, or as an export named config'
    throw new ConfigInvalid([{ what: shown, expected }], { file: shown })
  }
  // A promise has no options of its own: it would pass for an empty config, and run nothing without a word.
  if (config instanceof Promise) {
    const expected = 'an object, not a promise of one: put await before it'
    throw new ConfigInvalid([{ what: shown, expected }], { file: shown })
  }
  // Its form is what resolveConfig is there to judge.
  return { config, file: shown }
}

function findConfig(cwd: string): string | undefined {
  return CONFIG_FILES.map((name) => resolve(cwd, name)).find((path) => existsSync(path))
}

async function importFile(
  path: string,
  shown: string,
  cwd: string,
  limitMs: number,
): Promise<Record<string, unknown>> {
  try {
    const importing: Promise<unknown> = import(pathToFileURL(path).href)
    if (!(await within(limitMs, importing)))
      throw new Error(`it was not read within ${limitMs / 1000} s: it awaits what does not come`)
    const exported = await importing
    // A module's namespace is an object.
    return exported as Record<string, unknown>
  } catch (cause) {
    const { class: className, text } = cleanError(cause)
    const missing = missingModule(cause)
    const why =
      missing === undefined
        ? `it threw ${className}: ${text}`
        : // The importer has followed symbolic links.
          `${relative(realpathSync(cwd), missing)} is not there`
    throw new ConfigInvalid([{ what: shown, expected: `a file that can be imported; ${why}` }], {
      file: shown,
      cause,
    })
  }
}

/** The file that an import did not find; its path is absolute, so the text of the error may not be shown as it is. */
function missingModule(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || error.code !== 'ERR_MODULE_NOT_FOUND')
    return undefined
  const url = 'url' in error ? error.url : undefined
  return typeof url === 'string' && url.startsWith('file:') ? fileURLToPath(url) : undefined
}
