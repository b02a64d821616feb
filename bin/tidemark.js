#!/usr/bin/env node
// In a checkout the sources run as they are (Node strips the types); the published package ships dist/ alone.
import { existsSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

const checkout = existsSync(new URL('../src/cli/main.ts', import.meta.url))
// Types are stripped, and what is left compiled, once for all processes: half of the time that it takes to load them, and the
// memory of what strips them. By the environment, so that threads have it as well. What is installed needs no stripping, and
// nothing is written into somebody's packages.
if (checkout) {
  const folder = fileURLToPath(new URL('../node_modules/.cache/tidemark', import.meta.url))
  enableCompileCache((process.env.NODE_COMPILE_CACHE ??= folder))
}
await import(checkout ? '../src/cli/main.ts' : '../dist/cli/main.js')
