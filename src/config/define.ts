import type { TidemarkConfig } from './types.ts'

/**
 * Gives a config file its types; returns what it is given. A plain object as default export does as well.
 * Nothing is checked here: `resolveConfig` does that at start, and names every fault at once.
 */
export function defineConfig(config: TidemarkConfig): TidemarkConfig {
  return config
}
