import ts from 'typescript'

/*
 * Where a statement is put together out of parts.
 *
 * Statements live in sql/, and what varies in them is a parameter. Two things are looked for in a file of ours: the first argument
 * of a call of `query`, followed to its `const`, that is a template or a sum; and any such text that begins as a statement does,
 * wherever it goes from there. Parts that are themselves quoted names, or constants of the file, are let through.
 */

/** Begins as what reads or writes rows does. */
const STATEMENT =
  /^\s*(?:SELECT|INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|WITH|COPY|TRUNCATE|CALL|DO)\s/

/** The functions that turn a name into SQL, and a file's own text with names into a statement. */
const QUOTING: ReadonlySet<string> = new Set(['quoteIdentifier', 'quoteQualified', 'fillIdentifiers'])

/** They turn a value into SQL, which nothing but a name or a fixed text should need. */
const ESCAPING: ReadonlySet<string> = new Set(['escapeLiteral', 'escapeIdentifier'])

const CONSTANT = /^[A-Z][A-Z0-9_]*$/

/** What is built in the file, each as it stands there, in one line. */
export function builtSql(file: ts.SourceFile): string[] {
  const consts = constsOf(file)
  const found = new Set<ts.Node>()
  const visit = (node: ts.Node): void => {
    if (isBuilt(node) && STATEMENT.test(headOf(node))) found.add(node)
    if (ts.isCallExpression(node)) {
      const [text] = node.arguments
      if (text !== undefined && nameOf(node.expression) === 'query')
        for (const one of texts(text, consts)) if (isBuilt(one)) found.add(one)
      if (ESCAPING.has(nameOf(node.expression) ?? '')) found.add(node)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return [...found].map((node) => node.getText(file).replace(/\s+/g, ' ').slice(0, 60))
}

function constsOf(file: ts.SourceFile): Map<string, ts.Expression[]> {
  const found = new Map<string, ts.Expression[]>()
  const visit = (node: ts.Node): void => {
    if (ts.isVariableDeclaration(node) && ts.isIdentifier(node.name) && node.initializer !== undefined)
      found.set(node.name.text, [...(found.get(node.name.text) ?? []), node.initializer])
    ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

/** What an expression may be: itself, either way of a condition, whatever a name of this file was set to. */
function texts(
  expression: ts.Expression,
  consts: ReadonlyMap<string, readonly ts.Expression[]>,
  seen: ReadonlySet<string> = new Set(),
): ts.Expression[] {
  if (ts.isParenthesizedExpression(expression) || ts.isAsExpression(expression))
    return texts(expression.expression, consts, seen)
  if (ts.isConditionalExpression(expression))
    return [expression.whenTrue, expression.whenFalse].flatMap((way) => texts(way, consts, seen))
  if (!ts.isIdentifier(expression) || seen.has(expression.text)) return [expression]
  const inner = new Set([...seen, expression.text])
  return (consts.get(expression.text) ?? []).flatMap((one) => texts(one, consts, inner))
}

/** A template or a sum with a part that is no quoted name, no constant and no fixed text. */
function isBuilt(node: ts.Node): node is ts.Expression {
  return partsOf(node).some((part) => !isFixed(part))
}

function isFixed(part: ts.Expression): boolean {
  if (ts.isStringLiteralLike(part)) return true
  if (ts.isIdentifier(part)) return CONSTANT.test(part.text)
  return ts.isCallExpression(part) && QUOTING.has(nameOf(part.expression) ?? '')
}

function partsOf(node: ts.Node): readonly ts.Expression[] {
  if (ts.isTemplateExpression(node)) return node.templateSpans.map((span) => span.expression)
  if (!ts.isBinaryExpression(node) || node.operatorToken.kind !== ts.SyntaxKind.PlusToken) return []
  return [node.left, node.right].flatMap((side) => {
    const inner = partsOf(side)
    return inner.length === 0 ? [side] : inner
  })
}

/** The text that a template or a sum begins with. */
function headOf(node: ts.Node): string {
  if (ts.isTemplateExpression(node)) return node.head.text
  if (ts.isStringLiteralLike(node)) return node.text
  return ts.isBinaryExpression(node) ? headOf(node.left) : ''
}

function nameOf(called: ts.Expression): string | undefined {
  if (ts.isIdentifier(called)) return called.text
  return ts.isPropertyAccessExpression(called) ? called.name.text : undefined
}
