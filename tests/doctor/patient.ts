import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { readSettings } from '../../src/config/settings.ts'
import type { TidemarkConfig } from '../../src/config/types.ts'
import { resolveConfig } from '../../src/config/validate.ts'
import { CannotRun, LIMITS, type Limits, type Ways } from '../../src/doctor/check.ts'
import { CHECKS } from '../../src/doctor/checks.ts'
import { examine, type Examined } from '../../src/doctor/examine.ts'
import { flyOf } from '../../src/doctor/fly/deployed.ts'

export interface PatientOptions {
  /** Without one there is no database. */
  readonly url?: string
  readonly env?: Readonly<Record<string, string>>
  readonly config?: TidemarkConfig
  readonly limits?: Partial<Limits>
  readonly ways?: () => Promise<Ways>
  /** Text of fly.toml. */
  readonly fly?: string
  readonly dockerfile?: string
  readonly now?: () => number
}

/** Both addresses lead straight to the database. */
export const DIRECT: Ways = {
  work: { pooling: 'none', missing: [], database: 'here' },
  session: { pooling: 'none', missing: [], database: 'here' },
  apart: false,
}

/** One check on one patient, as `tidemark doctor` runs it. */
export async function examined(name: string, options: PatientOptions = {}): Promise<Examined> {
  const check = CHECKS.find((one) => one.name === name)
  assert.ok(check !== undefined, `there is a check ${name}`)
  const { url, env, limits, config = {}, now = Date.now, ways = () => Promise.resolve(DIRECT) } = options
  const client = url === undefined ? new CannotRun('no database', 'start one') : await connected(url)
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-doctor-'))
  if (options.fly !== undefined) writeFileSync(join(folder, 'fly.toml'), options.fly)
  if (options.dockerfile !== undefined) writeFileSync(join(folder, 'Dockerfile'), options.dockerfile)
  try {
    const [result] = await examine(
      {
        settings: readSettings({ DATABASE_URL: url ?? 'postgres://nobody@127.0.0.1:1/none', ...env }),
        limits: { ...LIMITS, ...limits },
        client,
        config: () => resolveConfig(config),
        written: () => config,
        ways,
        fly: flyOf(join(folder, 'fly.toml'), folder, false),
        now,
      },
      [check],
    )
    assert.ok(result !== undefined)
    return result
  } finally {
    rmSync(folder, { recursive: true })
    if (client instanceof Client) await client.end()
  }
}

async function connected(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, application_name: 'tidemark:doctor' })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

/** That the check finds this alone, and the remedy of it. */
export async function finds(
  name: string,
  expected: RegExp,
  options: PatientOptions = {},
): Promise<{ remedy: string; severity: string; seen: string }> {
  const result = await examined(name, options)
  const text = JSON.stringify(result, null, 1)
  assert.equal(result.status, 'found', text)
  const [found, ...more] = result.findings.filter(({ severity }) => severity !== 'note')
  assert.ok(found !== undefined && more.length === 0, text)
  assert.match(found.seen, expected)
  assert.doesNotMatch(`${found.seen}${found.remedy}`, /\n|undefined|\[object/)
  assert.ok(found.remedy.length > 0)
  return found
}

/** That the check looks, and finds nothing. */
export async function isSilent(name: string, options: PatientOptions = {}): Promise<void> {
  const result = await examined(name, options)
  assert.equal(result.status, 'ok', JSON.stringify(result, null, 1))
}

/** Finds it, does what the remedy says in SQL, and finds it no more. `mend`: who may do that. */
export async function findsAndMends(
  name: string,
  expected: RegExp,
  options: PatientOptions,
  mend: { query(text: string): Promise<unknown> },
): Promise<void> {
  const { remedy } = await finds(name, expected, options)
  // Each by itself: some may not be run within a transaction.
  for (const statement of remedy.split(';')) await mend.query(statement)
  await isSilent(name, options)
}

/** A poller of this table, and a processor that takes what it brings. */
export function configOf(
  table: string,
  source: Partial<NonNullable<TidemarkConfig['pollers']>[string]['source']> = {},
  poller: Partial<NonNullable<TidemarkConfig['pollers']>[string]> = {},
): TidemarkConfig {
  return {
    pollers: { orders: { source: { table, id: 'id', createdAt: 'created_at', ...source }, ...poller } },
    processors: { packing: { from: 'orders', contract: 'external', handle: () => undefined } },
  }
}
