/** One thing that a role may not use, and the statement that gives it the right. */
export interface MissingGrant {
  /** `schema pgboss`, `table shop.orders`. */
  readonly object: string
  readonly grant: string
}

/** The role that we connect as may not use what it needs; `missing` names each thing and its GRANT. */
export class PermissionMissing extends Error {
  override readonly name = 'PermissionMissing'
  readonly role: string
  readonly missing: readonly MissingGrant[]
  constructor(role: string, missing: readonly MissingGrant[], options?: ErrorOptions) {
    const objects = missing.map(({ object }) => object).join(', ')
    const grants = missing.map(({ grant }) => grant).join('; ')
    super(`role ${role} lacks rights on ${objects}. Remedy: ${grants}`, options)
    this.role = role
    this.missing = missing
  }
}
