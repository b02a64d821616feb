import { copyFileSync, cpSync, existsSync, globSync, linkSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join, posix } from 'node:path'
import { parseDockerfile, type Step } from './dockerfile.ts'

/** What a build came to: a folder to be the root, and how to start what is in it. */
export interface Image {
  readonly root: string
  readonly env: Readonly<Record<string, string>>
  readonly workdir: string
  readonly user: string
  readonly command: readonly string[]
}

/** Where a step runs. */
export interface Place {
  readonly root: string
  readonly workdir: string
  readonly env: Readonly<Record<string, string>>
}

export interface BuildOptions {
  readonly dockerfile: string
  /** What .dockerignore lets through. */
  readonly context: string
  /** Empty; each stage has its root in it. */
  readonly folder: string
  /** Fills a root with what this image brings. */
  readonly base: (image: string, root: string) => void
  readonly run: (command: string, place: Place) => void
}

/** Docker's own, for every image. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Does what the Dockerfile says, step by step, without Docker. */
export function buildImage(options: BuildOptions): Image {
  const stages = parseDockerfile(options.dockerfile)
  const roots = new Map<string, string>()
  let image: Image | undefined
  for (const [number, { base, name, steps }] of stages.entries()) {
    const root = join(options.folder, name ?? `stage${number}`)
    mkdirSync(root, { recursive: true })
    options.base(base, root)
    image = steps.reduce<Image>((before, step) => after(before, step, roots, options), {
      root,
      env: { PATH },
      workdir: '/',
      user: 'root',
      command: [],
    })
    if (name !== undefined) roots.set(name, root)
  }
  if (image === undefined) throw new Error('The Dockerfile has no stage')
  return image
}

function after(
  image: Image,
  { name, args }: Step,
  roots: ReadonlyMap<string, string>,
  { context, run }: BuildOptions,
): Image {
  switch (name) {
    case 'WORKDIR':
      mkdirSync(join(image.root, args), { recursive: true })
      return { ...image, workdir: args }
    case 'ENV': {
      const [, key = '', value = ''] = /^(\w+)=(\S+)$/.exec(args) ?? []
      return { ...image, env: { ...image.env, [key]: value } }
    }
    case 'USER':
      return { ...image, user: args }
    case 'CMD':
      // Exec form is JSON; the shell form is none, and throws.
      return { ...image, command: JSON.parse(args) as string[] }
    case 'RUN':
      run(args, image)
      return image
    case 'COPY':
      copy(image, args, roots, context)
      return image
    case 'EXPOSE':
      return image
  }
}

function copy(image: Image, args: string, roots: ReadonlyMap<string, string>, context: string): void {
  const words = args.split(/\s+/)
  const stage = /^--from=(.+)$/.exec(words[0] ?? '')?.[1]
  if (stage !== undefined) words.shift()
  const from = stage === undefined ? context : roots.get(stage)
  if (from === undefined) throw new Error(`COPY ${args}: there is no stage ${String(stage)}`)
  const to = words.pop() ?? ''
  const target = join(image.root, posix.resolve(image.workdir, to))
  const sources = words.flatMap((word) => {
    const found = word.includes('*') ? globSync(word, { cwd: from }) : [word]
    return found.map((path) => join(from, path))
  })
  for (const source of sources) {
    if (!existsSync(source)) throw new Error(`COPY ${args}: there is no ${source}`)
    // A folder's contents are copied, a file goes into a folder or gets the name.
    const into = !statSync(source).isDirectory() && to.endsWith('/') ? join(target, basename(source)) : target
    if (statSync(source).isDirectory()) cpSync(source, into, { recursive: true, verbatimSymlinks: true })
    else putFile(source, into)
  }
}

/** Linked where it can be: Node is large, nothing changes it, and each stage has it. */
export function putFile(file: string, target: string): void {
  mkdirSync(dirname(target), { recursive: true })
  // A copy would go into what is there, which may be a link to a file of this host.
  rmSync(target, { force: true })
  try {
    linkSync(file, target)
  } catch {
    // On another file system, or somebody else's.
    copyFileSync(file, target)
  }
}
