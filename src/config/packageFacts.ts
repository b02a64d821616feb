import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Name and version, as a package.json has them. */
export interface PackageFacts {
  readonly name: string
  readonly version: string
}

/** Tidemark's own; from the sources and from dist/ alike it lies two folders up. */
export const OWN_PACKAGE: PackageFacts = readPackage(new URL('../../package.json', import.meta.url)) ?? {
  name: 'tidemark',
  version: '0.0.0',
}

/** Name and version of the package in a folder: the app that runs us; Tidemark's own where there is none. */
export function packageIn(folder: string): PackageFacts {
  return readPackage(join(folder, 'package.json')) ?? OWN_PACKAGE
}

function readPackage(file: string | URL): PackageFacts | undefined {
  try {
    const facts: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (typeof facts !== 'object' || facts === null || !('name' in facts)) return undefined
    const version = 'version' in facts && typeof facts.version === 'string' ? facts.version : '0.0.0'
    return typeof facts.name === 'string' ? { name: facts.name, version } : undefined
  } catch {
    // None there, or none that can be read: both mean that it says nothing about us.
    return undefined
  }
}
