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

/** A table of Tidemark's or pg-boss's whose rows row-level security may hide, and the statement that ends that. */
export interface HiddenRows {
  readonly name: string
  readonly remedy: string
}

/** Row-level security may hide our own rows from the role that we connect as: messages would wait for ever. */
export class RowsHidden extends Error {
  override readonly name = 'RowsHidden'
  readonly hidden: readonly HiddenRows[]
  constructor(hidden: readonly HiddenRows[]) {
    const names = hidden.map(({ name }) => name).join(', ')
    const remedies = hidden.map(({ remedy }) => remedy).join('; ')
    super(
      `row-level security of ${names} may hide its rows from this role: messages would wait for ever. Remedy: ${remedies}`,
    )
    this.hidden = hidden
  }
}
