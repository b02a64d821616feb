import { getConnInfo } from '@hono/node-server/conninfo'
import type { Context } from 'hono'
import { BlockList, isIP } from 'node:net'

/** Where a request is from, as far as that can be known. */
export interface Caller {
  /** An address, or the network that one customer of a provider usually has. */
  readonly place: string
  /**
   * Many may be behind it: the address is a proxy's, as those of this machine and of private networks usually are, or there is
   * none.
   */
  readonly isShared: boolean
}

const NOWHERE: Caller = { place: 'unknown', isShared: true }

/** This machine, private networks, and those of providers' own translation (RFC 6598). */
const NOT_PUBLIC = new BlockList()
for (const [network, prefix] of [
  ['127.0.0.0', 8],
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['169.254.0.0', 16],
  ['100.64.0.0', 10],
] as const)
  NOT_PUBLIC.addSubnet(network, prefix, 'ipv4')
for (const [network, prefix] of [
  ['::1', 128],
  ['fc00::', 7],
  ['fe80::', 10],
] as const)
  NOT_PUBLIC.addSubnet(network, prefix, 'ipv6')

/** A server that listens on every address names IPv4 ones in this way. */
const MAPPED = /^::ffff:(?=\d+\.)/i

/** @param behindFly on Fly.io, whose proxy says in a header of its own, which it overwrites, which address a request is from */
export function callerOf(context: Context, behindFly: boolean): Caller {
  const said = behindFly ? context.req.header('Fly-Client-IP') : undefined
  return callerAt(said ?? peerOf(context))
}

/** @param address as a socket or a proxy names it */
export function callerAt(address: string | undefined): Caller {
  const plain = (address ?? '').trim().replace(/%.*$/, '').replace(MAPPED, '')
  const version = isIP(plain)
  if (version === 0) return NOWHERE
  const isShared = NOT_PUBLIC.check(plain, version === 4 ? 'ipv4' : 'ipv6')
  return { place: version === 4 ? plain : network64(plain), isShared }
}

function peerOf(context: Context): string | undefined {
  try {
    return getConnInfo(context).remote.address
  } catch {
    return undefined // asked without a server: a test
  }
}

/** Whoever has one IPv6 address has 2^64 of them. */
function network64(address: string): string {
  const [front = '', back] = address.split('::')
  const groups = (part = ''): string[] => (part === '' ? [] : part.split(':'))
  const [before, after] = [groups(front), groups(back)]
  const between = back === undefined ? 0 : Math.max(0, 8 - before.length - after.length)
  const all = [...before, ...Array.from({ length: between }, () => '0'), ...after]
  return `${all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}
