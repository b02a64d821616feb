import { readFileSync } from 'node:fs'
import type { Manifest } from './project.ts'

/*
 * What a package.json has to say for the written files to run: packages and scripts.
 */

interface PackageFile {
  readonly scripts: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

/** The template's packages in the versions that this release of Tidemark is tested with. */
export function withVersions(text: string): string {
  const file = JSON.parse(text) as PackageFile
  const own = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  ) as PackageFile & { readonly version: string }
  const tested: Readonly<Record<string, string>> = {
    ...own.devDependencies,
    ...own.dependencies,
    tidemark: `^${own.version}`,
  }
  const filled = (packages: Readonly<Record<string, string>>): Record<string, string> =>
    Object.fromEntries(Object.entries(packages).map(([name, any]) => [name, tested[name] ?? any]))
  const { dependencies, devDependencies } = file
  const whole = { ...file, dependencies: filled(dependencies), devDependencies: filled(devDependencies) }
  return `${JSON.stringify(whole, null, 2)}\n`
}

/** Commands that give a package.json that is there what the template has and it lacks. */
export function commandsFor(manifest: Manifest, text: string): string[] {
  const { scripts, dependencies, devDependencies } = JSON.parse(text) as PackageFile
  const lacking = (packages: Readonly<Record<string, string>>): string[] =>
    Object.keys(packages).filter((name) => !manifest.packages.includes(name))
  const needed = lacking(dependencies)
  const helpful = lacking(devDependencies)
  const unset = Object.entries(scripts)
    .filter(([name]) => !manifest.scripts.includes(name))
    .map(([name, script]) => `"scripts.${name}=${script}"`)
  return [
    ...(needed.length === 0 ? [] : [`npm install ${needed.join(' ')}`]),
    ...(helpful.length === 0 ? [] : [`npm install --save-dev ${helpful.join(' ')}`]),
    ...(unset.length === 0 ? [] : [`npm pkg set ${unset.join(' ')}`]),
  ]
}
