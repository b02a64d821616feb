#!/usr/bin/env node
// In a checkout the sources run as they are (Node strips the types); the published package ships dist/ alone.
import { existsSync } from 'node:fs'

const checkout = existsSync(new URL('../src/cli/main.ts', import.meta.url))
await import(checkout ? '../src/cli/main.ts' : '../dist/cli/main.js')
