import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { findOnPath } from '../support/program.ts'
import { putFile, type Place } from './buildImage.ts'

/*
 * Images to start from, where there is no Docker and no registry: empty folders with just what a program needs to be loaded.
 * What runs in one runs in fewer files than any image has.
 */

/** Debian itself, where debootstrap is on the PATH and may be used; else no more than the libraries. */
export function debian(root: string): void {
  const debootstrap = process.getuid?.() === 0 ? findOnPath('debootstrap') : undefined
  if (debootstrap === undefined) {
    librariesAlone(root)
    return
  }
  execFileSync(debootstrap, ['--variant=minbase', 'bookworm', root], { stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Of all that Debian would bring, the libraries that Node is linked with. */
export function librariesAlone(root: string): void {
  empty(root)
  for (const library of librariesOf(process.execPath)) copyIn(root, library)
}

/** Node, and nothing that could run a command: enough for a stage whose commands run elsewhere. */
export function nodeAlone(root: string): void {
  empty(root)
  copyIn(root, realpathSync(process.execPath), '/usr/local/bin/node')
}

/** Node, npm and a shell, and the way to the registry that this machine uses. */
export function nodeAndNpm(root: string): void {
  nodeAlone(root)
  const programs = [realpathSync('/bin/sh'), realpathSync('/usr/bin/env')]
  copyIn(root, programs[0] ?? '', '/bin/sh')
  copyIn(root, programs[1] ?? '', '/usr/bin/env')
  for (const library of [process.execPath, ...programs].flatMap(librariesOf)) copyIn(root, library)
  const npm = findOnPath('npm')
  if (npm === undefined) throw new Error('npm is not on the PATH')
  const home = '/usr/local/lib/node_modules/npm'
  cpSync(dirname(dirname(realpathSync(npm))), join(root, home), { recursive: true })
  symlinkSync(`${home}/bin/npm-cli.js`, join(root, '/usr/local/bin/npm'))
  for (const file of ['/etc/resolv.conf', '/etc/hosts', '/etc/nsswitch.conf'])
    if (existsSync(file)) copyIn(root, realpathSync(file), file)
  const npmrc = join(homedir(), '.npmrc')
  const settings = existsSync(npmrc) ? readFileSync(npmrc, 'utf8') : ''
  if (settings !== '') copyIn(root, npmrc, '/root/.npmrc')
  const authorities = [/^cafile=(.+)$/m.exec(settings)?.[1], process.env['NODE_EXTRA_CA_CERTS']]
  for (const file of authorities)
    if (file !== undefined && existsSync(file)) copyIn(root, realpathSync(file), file)
}

/** Runs a command of a Dockerfile with the place's root for its own, as root of that place and as nobody else's. */
export function runInside(command: string, { root, workdir, env }: Place): void {
  const network = Object.entries(process.env).filter(([name]) =>
    /^(https?_proxy|no_proxy|npm_config_(registry|cafile|fetch_.*)|NODE_EXTRA_CA_CERTS)$/i.test(name),
  )
  const place = [`--root=${root}`, `--wd=${workdir}`]
  const { status, stderr, error } = spawnSync(
    'unshare',
    ['--user', '--map-root-user', '--pid', '--fork', '--mount-proc', ...place, '/bin/sh', '-c', command],
    { env: { ...Object.fromEntries(network), ...env, HOME: '/root' }, encoding: 'utf8' },
  )
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`RUN ${command} ended with ${String(status)}:\n${stderr}`)
}

function empty(root: string): void {
  for (const folder of ['proc', 'tmp', 'etc', 'root']) mkdirSync(join(root, folder), { recursive: true })
  chmodSync(join(root, 'tmp'), 0o1777)
}

function copyIn(root: string, file: string, as = file): void {
  putFile(realpathSync(file), join(root, as))
}

/** Paths of what a program is linked with, the loader among them, as the program asks for them. */
function librariesOf(program: string): string[] {
  const told = execFileSync('ldd', [program], { encoding: 'utf8' })
  return [...told.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, path]) => path ?? '')
}
