/** A page of the dashboard, as far as it tells numbers. */
export interface Page {
  readonly text: string
  /** Tables by their captions: rows by what names them, cells by their heads. */
  readonly tables: ReadonlyMap<string, ReadonlyMap<string, ReadonlyMap<string, string>>>
  /** Names and values that stand one under the other. */
  readonly facts: ReadonlyMap<string, string>
  /** Beside the headings of its sections, by their ids. */
  readonly asides: ReadonlyMap<string, string>
}

export function readPage(html: string): Page {
  const tables = new Map<string, ReadonlyMap<string, ReadonlyMap<string, string>>>()
  for (const [, caption = '', body = ''] of html.matchAll(
    /<caption class="unseen">([^<]*)<\/caption>[\s\S]*?<tbody>([\s\S]*?)<\/tbody>/g,
  )) {
    const rows = Array.from(body.matchAll(/<tr>([\s\S]*?)<\/tr>/g), ([, row = '']) => {
      const name = textOf(/<th scope="row"[^>]*>([\s\S]*?)<\/th>/.exec(row)?.[1] ?? '')
      const cells = Array.from(
        row.matchAll(/<td class="[^"]*" data-label="([^"]*)">([\s\S]*?)<\/td>/g),
        ([, head = '', cell = '']) => [head, textOf(cell)] as const,
      )
      return [name, new Map(cells)] as const
    })
    // The same name twice: changes of one task, of which the newest is first.
    tables.set(caption.trim(), new Map(rows.toReversed()))
  }
  const facts = Array.from(
    html.matchAll(/<dt>([\s\S]*?)<\/dt>\s*<dd>([\s\S]*?)<\/dd>/g),
    ([, name = '', value = '']) => [textOf(name), textOf(value)] as const,
  )
  const asides = Array.from(
    html.matchAll(
      /<section class="[^"]*" id="([\w-]+)"[^>]*>\s*<header[^>]*>\s*<h2[^>]*>[^<]*<\/h2>\s*<p class="part-aside">([\s\S]*?)<\/p>/g,
    ),
    ([, id = '', aside = '']) => [id, textOf(aside)] as const,
  )
  return { text: textOf(html), tables, facts: new Map(facts), asides: new Map(asides) }
}

function textOf(html: string): string {
  return html
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll('&amp;', '&')
    .replaceAll('&#39;', "'")
    .replaceAll('&quot;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll(/\s+/g, ' ')
    .trim()
}

const UNITS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, min: 60, h: 3_600, d: 86_400 }

/** `1,234`, `–` (null), `3 min 20 s`, `2 of 3`, `−12 s`: the first number, lengths of time in seconds. Undefined: there is none. */
export function numberOf(text: string | undefined): number | null | undefined {
  if (text === undefined) return undefined
  if (text === '–') return null
  const time = [...text.matchAll(/([\d.]+) (ms|s|min|h|d)\b/g)]
  if (time.length > 0)
    return time.slice(0, 2).reduce((sum, [, value, unit = '']) => sum + Number(value) * (UNITS[unit] ?? 0), 0)
  const [number] = /\d[\d,]*(?:\.\d+)?/.exec(text) ?? []
  return number === undefined ? undefined : Number(number.replaceAll(',', ''))
}
