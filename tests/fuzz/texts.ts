import fc from 'fast-check'

/** What has broken readers before. */
const ODD = [
  '',
  '\0',
  '\u0000\u0001',
  ' ',
  '\t\r\n',
  '-1',
  '0',
  '00',
  '1e999',
  '9007199254740993',
  '99999999999999999999',
  'NaN',
  'Infinity',
  'null',
  'undefined',
  '__proto__',
  'constructor',
  '%',
  '%00',
  '%zz',
  '%c0%ae',
  '\ud800',
  '\u202e',
  '\ufeff',
  'é',
  '🌊',
  "'",
  '"',
  '\\',
  '`',
  '$1',
  '${x}',
  '--',
  ';',
  '<script>',
  '../../etc/passwd',
]

/** Any text: of bytes, of letters, of what is odd, and each of them many times over. */
export function anyText(): fc.Arbitrary<string> {
  const short = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ unit: 'grapheme', maxLength: 40 }),
    fc.constantFrom(...ODD),
  )
  const long = fc
    .tuple(fc.string({ maxLength: 4 }), fc.integer({ min: 1, max: 20_000 }), short)
    .map(([part, times, end]) => part.repeat(times) + end)
  return fc.oneof({ arbitrary: short, weight: 8 }, { arbitrary: long, weight: 1 })
}

/** What is nearly right: a sample with a piece taken out, doubled, or replaced by something else. */
export function nearly(samples: readonly string[]): fc.Arbitrary<string> {
  const change = fc.tuple(
    fc.constantFrom('cut', 'double', 'insert', 'swap'),
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.double({ min: 0, max: 1, noNaN: true }),
    anyText(),
  )
  return fc
    .tuple(fc.constantFrom(...samples), fc.array(change, { maxLength: 3 }))
    .map(([sample, changes]) => changes.reduce(changed, sample))
}

/** Mostly nearly right, sometimes anything. */
export function textLike(...samples: string[]): fc.Arbitrary<string> {
  return fc.oneof({ arbitrary: nearly(samples), weight: 4 }, { arbitrary: anyText(), weight: 1 })
}

function changed(text: string, [how, one, other, odd]: [string, number, number, string]): string {
  const [from, to] = [one, other]
    .map((share) => Math.floor(share * (text.length + 1)))
    .toSorted((a, b) => a - b)
  const [head, piece, tail] = [text.slice(0, from), text.slice(from, to), text.slice(to)]
  if (how === 'cut') return head + tail
  if (how === 'double') return head + piece + piece + tail
  return how === 'insert' ? head + odd + piece + tail : tail + piece + head
}
