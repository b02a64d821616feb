import type { z } from 'zod'
import type { Fault } from '../errors.ts'

/** Options whose values are secrets, or may hold one. */
const UNSHOWN = ['secret', 'signature', 'url', 'deliver']

/** Turns an issue of zod about a config into faults: one per unknown option, one for anything else. */
export function faultsOf(issue: z.core.$ZodIssue, config: unknown): Fault[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ what: pathText([...issue.path, key]), expected: issue.message }))
  }
  const given = UNSHOWN.some((name) => issue.path.includes(name))
    ? undefined
    : printable(valueAt(config, issue.path))
  return [
    {
      what: issue.path.length === 0 ? 'the config' : pathText(issue.path),
      ...(given === undefined ? {} : { given }),
      expected: issue.message.startsWith('Invalid input: expected ')
        ? issue.message.replace('Invalid input: expected ', '').replace(/, received.*$/, '')
        : issue.message,
    },
  ]
}

function pathText(path: readonly PropertyKey[]): string {
  return path.map(String).join('.')
}

function valueAt(config: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    config,
  )
}

function printable(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : undefined
}
