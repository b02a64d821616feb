import { printable } from '../kit/printable.ts'

/** Pieces of TypeScript made of names and texts that somebody else chose. */

/** A string literal, in single quotes where that needs no escapes. */
export function literal(text: string): string {
  const quoted = JSON.stringify(text).replaceAll(
    /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return /['\\]/.test(quoted) ? quoted : `'${quoted.slice(1, -1)}'`
}

/** A key of an object or interface. */
export function property(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) && name !== '__proto__' ? name : literal(name)
}

/** As many characters as a line of a comment has at most, without its indent. */
const COMMENT_WIDTH = 110

/** Lines of a comment, wrapped between words; `first` stands before the first of them, `hang` before the others. */
export function comment(text: string, first = '', hang = first): string[] {
  const lines: string[] = []
  let line = first
  let isEmpty = true
  for (const word of printable(text).split(' ')) {
    if (!isEmpty && line.length + 1 + word.length > COMMENT_WIDTH) {
      lines.push(line)
      line = hang + word
    } else line += isEmpty ? word : ` ${word}`
    isEmpty = false
  }
  return [...lines, line].map((one) => `// ${one}`)
}
