import { loadConfig } from '../config/load.ts'
import { packageIn } from '../config/packageFacts.ts'
import { readSettings, type Settings } from '../config/settings.ts'
import type { TidemarkConfig } from '../config/types.ts'
import { resolveConfig } from '../config/validate.ts'
import { ConfigInvalid, SetupInvalid, SettingsInvalid } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'

/** What a verb works with. */
export interface Setup {
  readonly settings: Settings
  /** Undefined where no file was named and none is there. */
  readonly config: TidemarkConfig | undefined
}

export interface SetupOptions {
  /** `--config`. */
  readonly file?: string | undefined
  /** Used instead of a file. */
  readonly config?: TidemarkConfig
  /**
   * `'named'`: only a file that `--config` names is read. Verbs that only look at the database must work beside a
   * broken config, and importing one runs its code.
   */
  readonly look: 'everywhere' | 'named'
}

/**
 * Reads the environment and the config file.
 * @throws {SetupInvalid} with the faults of both
 */
export async function readSetup(options: SetupOptions): Promise<Setup> {
  const problems: (SettingsInvalid | ConfigInvalid)[] = []
  const config = await keep(problems, () => checkedConfig(options))
  const settings = await keep(problems, async () =>
    readSettings(process.env, {
      app: packageIn(process.cwd()),
      terminal: process.stderr.isTTY,
      pollers: Object.keys(config?.pollers ?? {}),
    }),
  )
  if (settings === undefined || problems.length > 0) throw new SetupInvalid(problems)
  return { settings, config }
}

async function checkedConfig({ file, config, look }: SetupOptions): Promise<TidemarkConfig | undefined> {
  if (config !== undefined) return config
  if (file === undefined && look === 'named') return undefined
  const loaded = await loadConfig(file, process.cwd())
  if (loaded === undefined) return undefined
  try {
    resolveConfig(loaded.config, { file: loaded.file })
  } catch (cause) {
    if (cause instanceof ConfigInvalid) throw cause
    // A getter of the user's, or a proxy.
    const { class: className, text } = cleanError(cause)
    const fault = {
      what: loaded.file,
      expected: `an object that can be read; it threw ${className}: ${text}`,
    }
    throw new ConfigInvalid([fault], { file: loaded.file, cause })
  }
  return loaded.config
}

async function keep<T>(
  problems: (SettingsInvalid | ConfigInvalid)[],
  read: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof SettingsInvalid) && !(error instanceof ConfigInvalid)) throw error
    problems.push(error)
    return undefined
  }
}
