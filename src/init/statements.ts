import { loadStatements } from '../db/statements.ts'

/** What is asked of the catalogs besides what pollers and doctor ask already. */
export const sql = loadStatements('init', ['alike', 'names', 'columns', 'keys'])
