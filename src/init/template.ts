import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { CONFIG_FILES } from '../config/load.ts'
import { pascal, type Names } from './names.ts'

/*
 * The files that init writes lie in assets/init as they are written where nothing is known: an app of its own, which runs. What
 * differs from app to app there is a word (`orders`, `orders-app`, `handleOrders`), or stands between two lines `init:NAME` and
 * `init:end`, which are never written.
 */

/** What stands between the lines of a region instead; undefined: what the template has. */
export type Regions = Readonly<Record<string, readonly string[] | undefined>>

const BEGIN = /^( *)(?:\/\/|#) init:(\w+)$/
const END = /^ *(?:\/\/|#) init:end$/

/** Reads a template by its path under assets/init, and fills it in. */
export function renderTemplate(path: string, names: Names, regions: Regions): string {
  return fill(readTemplate(path), names, regions)
}

/** From the sources and from dist/ alike the package lies two folders up. */
export function readTemplate(path: string): string {
  return readFileSync(fileURLToPath(new URL(`../../assets/init/${path}`, import.meta.url)), 'utf8')
}

/** Exported for its test. */
export function fill(text: string, names: Names, regions: Regions): string {
  const filled: string[] = []
  let instead: readonly string[] | undefined
  for (const line of text.split('\n')) {
    const begin = BEGIN.exec(line)
    if (begin !== null) {
      const [, indent = '', name = ''] = begin
      instead = regions[name]
      filled.push(...(instead ?? []).map((one) => (one === '' ? '' : indent + one)))
    } else if (END.test(line)) {
      instead = undefined
    } else if (instead === undefined) {
      filled.push(withNames(line, names))
    }
  }
  return filled.join('\n')
}

const WORDS =
  /\borders_processor\b|\borders-app\b|\bhandleOrders\b|\bOrdersPayload\b|\btidemark\.config\.ts\b|\borders(?:\.test)?\.ts\b|\*\.test\.ts\b|\borders\b/g

function withNames(line: string, names: Names): string {
  const { source, processor, app, config, extension } = names
  const words: Readonly<Record<string, string>> = {
    orders_processor: processor,
    'orders-app': app,
    handleOrders: `handle${pascal(source)}`,
    OrdersPayload: `${pascal(source)}Payload`,
    'tidemark.config.ts': config,
    'orders.ts': `${source}.${extension}`,
    'orders.test.ts': `${source}.test.${extension}`,
    '*.test.ts': `*.test.${extension}`,
    orders: source,
  }
  const named = line.replace(WORDS, (word) => words[word] ?? word)
  if (CONFIG_FILES.includes(config)) return named
  // Not where it is looked for: whoever starts must say so.
  return named
    .replace(/(tidemark(?:\.js)? start)"/, `$1 --config ${config}"`)
    .replace(/"start"\]/, `"start", "--config", "${config}"]`)
}
