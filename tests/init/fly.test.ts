import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { parse } from 'smol-toml'
import { z } from 'zod'
import { CHECKS } from '../../src/doctor/checks.ts'
import { fill, readTemplate } from '../../src/init/template.ts'
import { isSilent } from '../doctor/patient.ts'

/* fly.toml and Dockerfile as init writes them: for an app with an intake, and for one without. */

const NAMES = {
  source: 'orders',
  processor: 'orders_processor',
  app: 'shop',
  config: 'tidemark.config.ts',
  extension: 'ts',
} as const
const DOCKERFILE = fill(readTemplate('Dockerfile'), NAMES, {})
const FORMS = { 'with an intake': {}, 'without one': { http: [], tokens: [] } }

describe('the fly.toml that init writes', () => {
  for (const [form, regions] of Object.entries(FORMS)) {
    const fly = fill(readTemplate('fly.toml'), NAMES, regions)

    test(`${form}: no check of the doctor's finds anything in it`, async () => {
      const ofFly = CHECKS.filter(({ name }) => name.startsWith('fly_'))
      assert.equal(ofFly.length, 9)
      for (const { name } of ofFly) await isSilent(name, { fly, dockerfile: DOCKERFILE })
    })

    test(`${form}: Fly.io's published schema takes it, where FLY_SCHEMA names that`, (t) => {
      const file = process.env['FLY_SCHEMA']
      if (file === undefined) {
        t.diagnostic('FLY_SCHEMA names no schema of Fly.io: nothing was looked at')
        return
      }
      const schema = z.fromJSONSchema(
        JSON.parse(readFileSync(file, 'utf8')) as Parameters<typeof z.fromJSONSchema>[0],
      )
      assert.ok(schema.safeParse(parse(fly)).success)
      assert.ok(!schema.safeParse(parse(fly.replace('"bluegreen"', '"bluegrean"'))).success)
    })
  }

  test('what the Dockerfile copies, the .dockerignore lets through', () => {
    const copied = [...DOCKERFILE.matchAll(/^COPY (?!--)(.+) \S+$/gm)].flatMap(([, paths = '']) =>
      paths.split(' '),
    )
    const letThrough = [...readTemplate('dockerignore').matchAll(/^!(.+)$/gm)].map(([, path]) => path)
    assert.deepEqual([...new Set(copied)].toSorted(), letThrough.toSorted())
  })
})
