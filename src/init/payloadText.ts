import { printable } from '../kit/printable.ts'
import type { Guess } from './guess.ts'
import type { Look, LookedColumn } from './look.ts'
import { pascal } from './names.ts'
import { literal, property } from './typescript.ts'

/** The payload's type, and one that a test can use. */
export interface PayloadText {
  readonly type: readonly string[]
  readonly sample: readonly string[]
}

export function payloadText(name: string, look: Look, guess: Guess): PayloadText {
  const type = `${pascal(name)}Payload`
  if (guess.payload !== undefined) {
    return {
      type: [
        documented(`What the column ${guess.payload.column} of ${look.table} holds.`),
        `export type ${type} = Record<string, unknown>`,
      ],
      sample: [`const payload: ${type} = {}`],
    }
  }
  const columns = [...look.columns, ...added(look, guess)]
  return {
    type: [
      documented(`A row of ${guess.table} as JSON.`),
      `export interface ${type} {`,
      ...columns.map(
        (column) => `  ${property(column.name)}: ${typeOf(column)}${column.not_null ? '' : ' | null'}`,
      ),
      '}',
    ],
    sample: [
      `const payload: ${type} = {`,
      ...columns.map((column) => `  ${property(column.name)}: ${sampleOf(column)},`),
      '}',
    ],
  }
}

/** A name of somebody's must not end the comment that it stands in. */
function documented(about: string): string {
  return `/** ${printable(about).replaceAll('*/', '* /')} */`
}

type Shown = Pick<LookedColumn, 'name' | 'type' | 'category' | 'labels' | 'not_null'>

/** What the remedy gives the table, or the view. */
function added(look: Look, guess: Guess): Shown[] {
  const isKnown = ({ column }: { column: string }): boolean =>
    look.columns.some(({ name }) => name === column)
  const isNumber = guess.table === look.table
  const id: Shown = {
    name: guess.id.column,
    type: isNumber ? 'bigint' : 'text',
    category: isNumber ? 'N' : 'S',
    labels: null,
    not_null: isNumber,
  }
  const time: Shown = {
    name: guess.createdAt.column,
    type: 'timestamp with time zone',
    category: 'D',
    labels: null,
    not_null: true,
  }
  return [...(isKnown(guess.id) ? [] : [id]), ...(isKnown(guess.createdAt) ? [] : [time])]
}

/** As to_jsonb() writes it. */
function typeOf({ type, category, labels }: Shown): string {
  if (labels !== null) return labels.map(literal).join(' | ')
  if (type === 'json' || type === 'jsonb') return 'unknown'
  if (category === 'N' && type !== 'money') return 'number'
  if (category === 'B') return 'boolean'
  if (category === 'A') return 'unknown[]'
  return category === 'C' ? 'Record<string, unknown>' : 'string'
}

const SAMPLES: Readonly<Record<string, string>> = {
  uuid: "'00000000-0000-4000-8000-000000000001'",
  date: "'2026-01-31'",
  'timestamp with time zone': "'2026-01-31T12:00:00+00:00'",
  'timestamp without time zone': "'2026-01-31T12:00:00'",
}

function sampleOf(column: Shown): string {
  const { name, type, labels } = column
  if (labels !== null) return literal(labels[0] ?? '')
  const byType: Readonly<Record<string, string>> = {
    number: '1',
    boolean: 'true',
    unknown: '{}',
    'unknown[]': '[]',
    'Record<string, unknown>': '{}',
  }
  return SAMPLES[type] ?? byType[typeOf(column)] ?? literal(name)
}
