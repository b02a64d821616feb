import { readFileSync, statSync } from 'node:fs'

/** A user of this machine, by number. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/**
 * The account that the server's processes run under; undefined: our own.
 *
 * PostgreSQL refuses to run as root, so root lends it one: the owner of a cluster that exists, else the system's
 * `postgres`, else `nobody`. No user is made for it: trying out a tool should not leave a user behind on a machine.
 */
export function serverAccount(dataFolder: string): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  const owner = statSync(dataFolder, { throwIfNoEntry: false })
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid }
  const account = lendable(readFileSync('/etc/passwd', 'utf8'))
  if (account === undefined) {
    throw new Error(
      'PostgreSQL does not run as root, and this system has neither a user "postgres" nor "nobody"',
    )
  }
  return account
}

/** Exported for its test: machines differ in which of the two users they have. */
export function lendable(passwd: string): Account | undefined {
  const accounts = new Map<string, Account>()
  for (const line of passwd.split('\n')) {
    const [name = '', , uid, gid] = line.split(':')
    if (Number(uid) > 0 && Number(gid) > 0) accounts.set(name, { uid: Number(uid), gid: Number(gid) })
  }
  return accounts.get('postgres') ?? accounts.get('nobody')
}
