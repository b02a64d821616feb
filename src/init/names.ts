/** Names that the written files have in the places of the templates' own. */
export interface Names {
  /** The source's, a poller's or an intake's: `orders`. */
  readonly source: string
  readonly processor: string
  /** The app's, on Fly.io and in package.json. */
  readonly app: string
  /** File name of the config, the one that is there or the one to be written. */
  readonly config: string
  /** Ending of every TypeScript file: `mts` where package.json does not say that files are modules. */
  readonly extension: 'ts' | 'mts'
}

/** What is added to a source's name must leave 63 characters in all. */
const SOURCE_MOST = 50
/** The most that Fly.io takes. */
const APP_MOST = 63

/** A poller's name for a table of this name: `Order Lines` becomes `order_lines`. */
export function sourceNameOf(table: string): string {
  const name = table
    .replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, '_')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
    .replace(/^[_0-9]+/, '')
    .slice(0, SOURCE_MOST)
    .replace(/_+$/, '')
  return name === '' ? 'source' : name
}

/** Name of an app for a folder or package of this name: lower case, digits and hyphens. */
export function appNameOf(name: string): string {
  const app = name
    .replace(/^@[^/]*\//, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, APP_MOST)
    .replace(/-+$/, '')
  return app === '' ? 'tidemark-app' : app
}

/** `OrderLines` of `order_lines`. */
export function pascal(name: string): string {
  return name
    .split('_')
    .map((part) => part.slice(0, 1).toUpperCase() + part.slice(1))
    .join('')
}
