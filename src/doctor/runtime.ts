import { fault, type Check, type Finding } from './check.ts'

/** pg-boss asks for 22.12; what is installed from npm is tested from here on. */
const OLDEST_NODE = [22, 18] as const

export const runtime: Check = {
  name: 'runtime',
  title: `Node is at version ${OLDEST_NODE.join('.')} or newer.`,
  async run() {
    return judgeNode(process.versions.node)
  },
}

/** What there is to say of a version of Node. */
export function judgeNode(version: string): Finding[] {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [oldest, oldestMinor] = OLDEST_NODE
  if (major > oldest || (major === oldest && minor >= oldestMinor)) return []
  return [
    fault(`Node is at ${version}, and pg-boss and Tidemark need ${OLDEST_NODE.join('.')}`, 'install Node 24'),
  ]
}
