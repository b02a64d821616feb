import { loadStatements } from '../db/statements.ts'

export const sql = loadStatements('testing', [
  'hold',
  'let_go',
  'role',
  'complete',
  'create',
  'seal',
  'drop',
  'mark_used',
  'leftovers',
  'stale',
  'due',
  'messages',
])
