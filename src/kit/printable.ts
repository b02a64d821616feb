/**
 * What came from outside must not move a terminal's cursor, colour its text, turn the direction of what follows, or be two lines
 * where one was meant.
 */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '\uFFFD')
}
