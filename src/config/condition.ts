/**
 * What keeps a `where` from being one condition; undefined: nothing that can be seen without a database.
 *
 * A condition stands between parentheses beside those of a pass. With `1=1) OR (1=1` it would be no part of theirs any
 * more, and PostgreSQL, which sees only the whole, would not object; nor would it to `$1`, which the pass has too. Only
 * this is told apart here; everything else is judged by PostgreSQL when the source is looked at.
 */
export function conditionFault(sql: string): string | undefined {
  const open: string[] = []
  for (const [token] of sql.matchAll(TOKEN)) {
    if (token === '--' || token === '/*') return 'it has a comment'
    if (token === ';') return 'it has a ;'
    if (/^\$\d/.test(token)) return `it has the parameter ${token}, and nothing gives it a value`
    if (/^['"]$/.test(token)) return `a ${token} is not closed`
    const closing = CLOSING[token]
    if (closing !== undefined) open.push(closing)
    else if (/^[)\]]$/.test(token) && open.pop() !== token)
      return `its brackets do not match: a ${token} too many`
  }
  const missing = open.at(-1)
  return missing === undefined ? undefined : `its brackets do not match: a ${missing} is missing`
}

const CLOSING: Readonly<Record<string, string>> = { '(': ')', '[': ']' }

/** Texts and names in quotes whole, as PostgreSQL reads them; a quote that nothing closes stands alone. */
const TOKEN =
  /\b[eE]'(?:[^'\\]|\\[^]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(?<![\w$])\$((?:[A-Za-z_]\w*)?)\$[^]*?\$\1\$|\$\d+|--|\/\*|[()[\];'"]/g
