import { globSync, readFileSync } from 'node:fs'
import { join, posix, sep } from 'node:path'
import ts from 'typescript'
import { builtSql } from './sqlText.ts'

/** One source file, as the rules see it. Paths are relative to the tree, with `/`. */
export interface SourceFile {
  readonly path: string
  readonly lines: number
  /** Files of this tree that it imports, types and dynamic imports included. */
  readonly imports: readonly string[]
  /** Names of packages that it imports: `pg`, `node:fs`. */
  readonly packages: readonly string[]
  /** Uses of what belongs to the process as a whole: `process.exit`, `process.on('SIGTERM')`. */
  readonly processUses: readonly string[]
  /** Statements that are put together out of parts. */
  readonly builtSql: readonly string[]
}

/** Reads every TypeScript file of ours below `src`, `tests` and `scripts`. */
export function readTree(root: string): SourceFile[] {
  return globSync(['src/**/*.ts', 'tests/**/*.ts', 'scripts/**/*.ts'], {
    cwd: root,
    // The peers of the bench are installed below scripts.
    exclude: ['**/node_modules'],
  })
    .map((path) => path.split(sep).join('/'))
    .sort()
    .map((path) => readSource(root, path))
}

function readSource(root: string, path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8')
  const specifiers = ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName)
  const parsed = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const local = specifiers.filter((specifier) => specifier.startsWith('.'))
  return {
    path,
    lines: text.trimEnd().split('\n').length,
    imports: local.map((specifier) => posix.join(posix.dirname(path), specifier)),
    packages: specifiers.filter((specifier) => !specifier.startsWith('.')).map(packageName),
    processUses: processUses(parsed),
    builtSql: path.startsWith('src/') ? builtSql(parsed) : [],
  }
}

/** `pg` of `pg/lib/x`, `@hono/node-server` of `@hono/node-server/serve-static`. */
function packageName(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

const OWN_TO_CLI = new Set(['argv', 'exit', 'exitCode', 'abort', 'reallyExit'])
const LISTENING = new Set(['on', 'once', 'addListener', 'prependListener'])

function processUses(file: ts.SourceFile): string[] {
  const found: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node) && isProcess(node.expression) && OWN_TO_CLI.has(node.name.text)) {
      found.push(`process.${node.name.text}`)
    }
    const signal = signalListenedTo(node)
    if (signal !== undefined) found.push(`process.on('${signal}')`)
    ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

function signalListenedTo(node: ts.Node): string | undefined {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return undefined
  const { expression: object, name } = node.expression
  const [event] = node.arguments
  if (!isProcess(object) || !LISTENING.has(name.text) || event === undefined) return undefined
  // A name that is not written out may be a signal's, and there is no good reason for one outside the CLI.
  if (!ts.isStringLiteralLike(event)) return event.getText()
  return event.text.startsWith('SIG') ? event.text : undefined
}

function isProcess(node: ts.Expression): boolean {
  return ts.isIdentifier(node) && node.text === 'process'
}
