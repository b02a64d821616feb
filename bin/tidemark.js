#!/usr/bin/env node
// In a checkout the sources run as they are (Node strips the types); the published package ships dist/ alone.
import { existsSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

const checkout = existsSync(new URL('../src/cli/main.ts', import.meta.url))
// Types are stripped, and what is left compiled, once for all processes: half of the time that it takes to load them, and the
// memory of what strips them. What is installed needs no stripping, and nothing is written into somebody's packages. Not by the
// environment, which the processes that handlers start would have as well; where that names a folder, it has been enabled.
if (checkout && process.env.NODE_COMPILE_CACHE === undefined)
  enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/tidemark', import.meta.url)))
await import(checkout ? '../src/cli/main.ts' : '../dist/cli/main.js')
