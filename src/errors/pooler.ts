/** What stands between us and PostgreSQL cannot keep what we promise, or an address is needed that does without it. */
export class PoolerUnfit extends Error {
  override readonly name = 'PoolerUnfit'
}
