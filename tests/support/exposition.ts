/** A text of `GET /metrics`, read by its lines as Prometheus does. */
export interface Scrape {
  /** Each sample: `name{label="value"}`, labels sorted, to its value. */
  readonly samples: ReadonlyMap<string, number>
  /** The value of this sample; undefined: it is not there. */
  value(name: string, labels?: Readonly<Record<string, string>>): number | undefined
  /** Names that have a HELP line, in order. */
  readonly helped: readonly string[]
}

const SAMPLE = /^([a-z_]\w*)(?:\{(.*)\})? (\S+)$/
const LABEL = /([a-z_]\w*)="((?:[^"\\]|\\.)*)"/g

export function readScrape(text: string): Scrape {
  const samples = new Map<string, number>()
  const helped: string[] = []
  for (const line of text.split('\n')) {
    if (line.startsWith('# HELP ')) helped.push(line.split(' ')[2] ?? '')
    if (line === '' || line.startsWith('#')) continue
    const [, name, labels = '', value] = SAMPLE.exec(line) ?? []
    if (name === undefined) throw new Error(`no sample: ${line}`)
    const pairs = Array.from(labels.matchAll(LABEL), ([, label = '', text = '']) => [label, text] as const)
    const key = keyOf(name, Object.fromEntries(pairs))
    if (samples.has(key)) throw new Error(`twice: ${key}`)
    samples.set(key, Number(value))
  }
  return { samples, helped, value: (name, labels = {}) => samples.get(keyOf(name, labels)) }
}

function keyOf(name: string, labels: Readonly<Record<string, string>>): string {
  const parts = Object.keys(labels)
    .sort()
    .map((label) => `${label}="${labels[label] ?? ''}"`)
  return parts.length === 0 ? name : `${name}{${parts.join(',')}}`
}

/** Asks an instance, or an app by its address. */
export async function scrape(address: string): Promise<Scrape> {
  const response = await fetch(`${address}/metrics`)
  if (!response.ok) throw new Error(`/metrics said ${response.status}`)
  return readScrape(await response.text())
}
