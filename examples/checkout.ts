/*
 * Lets these examples run in a checkout, where the package is not built: what they import as `tidemark` is read from src.
 * A project that has Tidemark installed needs nothing like this.
 */
import { registerHooks } from 'node:module'

const SOURCES: Readonly<Record<string, string>> = {
  tidemark: '../src/index.ts',
  'tidemark/testing': '../src/testing/index.ts',
}

registerHooks({
  resolve(specifier, context, nextResolve) {
    const source = SOURCES[specifier]
    if (source === undefined) return nextResolve(specifier, context)
    return { url: new URL(source, import.meta.url).href, shortCircuit: true }
  },
})
