import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/*
 * What pages load besides themselves. Each file has the digest of its content in its address: a browser keeps it for ever, and
 * two releases side by side never give each other's pages the wrong one. Read once, when the dashboard is made.
 */

/** A file as it is sent. */
export interface Asset {
  readonly path: string
  readonly type: string
  readonly body: Uint8Array<ArrayBuffer>
}

export interface Assets {
  /** By path. */
  readonly all: ReadonlyMap<string, Asset>
  /** Addresses, for pages. */
  readonly paths: Readonly<Record<AssetName, string>>
}

export type AssetName = 'css' | 'js' | 'icon' | 'chartCss' | 'chartJs'

export const ASSETS_BELOW = '/assets/'
/** Content at an address never changes. */
export const ASSET_CACHE = 'public, max-age=31536000, immutable'

const DIGEST_LENGTH = 12

export function readAssets(): Assets {
  // The package of charts exports a module alone; what a page loads as it stands lies beside it.
  const charts = dirname(createRequire(import.meta.url).resolve('uplot/package.json'))
  const files: readonly [name: AssetName, file: string, as: string, type: string][] = [
    ['css', ownPath('dashboard.css'), 'dashboard.css', 'text/css; charset=utf-8'],
    ['js', ownPath('dashboard.js'), 'dashboard.js', 'text/javascript; charset=utf-8'],
    ['icon', ownPath('icon.svg'), 'icon.svg', 'image/svg+xml'],
    ['chartCss', join(charts, 'dist/uPlot.min.css'), 'chart.css', 'text/css; charset=utf-8'],
    ['chartJs', join(charts, 'dist/uPlot.iife.min.js'), 'chart.js', 'text/javascript; charset=utf-8'],
  ]
  const read = files.map(([name, file, as, type]): [AssetName, Asset] => {
    const body = new Uint8Array(readFileSync(file))
    const digest = createHash('sha256').update(body).digest('hex').slice(0, DIGEST_LENGTH)
    return [name, { path: `${ASSETS_BELOW}${digest}/${as}`, type, body }]
  })
  return {
    all: new Map(read.map(([, asset]) => [asset.path, asset])),
    // fromEntries widens the keys to string; `read` holds exactly one pair for each name.
    paths: Object.fromEntries(read.map(([name, { path }]) => [name, path])) as Record<AssetName, string>,
  }
}

/** The same three steps up lead there from `src/http/dashboard` and from `dist/http/dashboard`. */
function ownPath(file: string): string {
  return fileURLToPath(new URL(`../../../assets/${file}`, import.meta.url))
}
