/** A Dockerfile as far as ours goes: what is not known here is a fault, never left out. */
export interface Stage {
  /** The image that it starts from. */
  readonly base: string
  readonly name: string | undefined
  readonly steps: readonly Step[]
}

export interface Step {
  readonly name: 'COPY' | 'RUN' | 'WORKDIR' | 'ENV' | 'USER' | 'EXPOSE' | 'CMD'
  readonly args: string
}

const KNOWN: ReadonlySet<string> = new Set<Step['name']>([
  'COPY',
  'RUN',
  'WORKDIR',
  'ENV',
  'USER',
  'EXPOSE',
  'CMD',
])

export function parseDockerfile(text: string): Stage[] {
  const stages: { base: string; name: string | undefined; steps: Step[] }[] = []
  const lines = text
    .replaceAll(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
  for (const line of lines) {
    if (line.trim() === '') continue
    const [, name = '', args = ''] = /^(\w+)\s+(.+)$/.exec(line) ?? []
    if (name === 'FROM') {
      const [, base = '', as] = /^(\S+)(?: AS (\S+))?$/.exec(args) ?? []
      stages.push({ base, name: as, steps: [] })
    } else if (KNOWN.has(name)) {
      // Looked up in the set of exactly these names.
      stages.at(-1)?.steps.push({ name: name as Step['name'], args })
    } else {
      throw new Error(`This reader of Dockerfiles does not know: ${line}`)
    }
  }
  return stages
}

/** Whether .dockerignore lets the files of this name, at the top of the context, through. */
export function letsThrough(dockerignore: string, name: string): boolean {
  const rules = dockerignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const [first, ...exceptions] = rules
  if (first !== '*' || exceptions.some((rule) => !/^![\w.*-]+$/.test(rule)))
    throw new Error('.dockerignore is no longer one star and names that are let through')
  return exceptions.some((rule) => matches(rule.slice(1), name))
}

function matches(pattern: string, name: string): boolean {
  const source = pattern.replaceAll('.', '\\.').replaceAll('*', '[^/]*')
  return new RegExp(`^${source}$`).test(name)
}
