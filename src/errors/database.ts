/** No DATABASE_URL, and no embedded server runs that could be asked. */
export class NoDatabase extends Error {
  override readonly name = 'NoDatabase'
  /** Why, as a clause. */
  readonly reason: string
  readonly remedy: string
  constructor(dataDir: string) {
    const reason = `DATABASE_URL is not set, and no embedded server runs on ${dataDir}`
    const remedy = 'start one with `npx tidemark start --demo` in another terminal, or set DATABASE_URL'
    super(`no database: ${reason}. Remedy: ${remedy}`)
    this.reason = reason
    this.remedy = remedy
  }
}

/** There is an address, and nothing that can be used there: nobody answers, or lets us in, or has this database. */
export class DatabaseAway extends Error {
  override readonly name = 'DatabaseAway'
  /** Which database, by which setting, and why, as a clause. */
  readonly reason: string
  readonly remedy: string
  /**
   * @param address `host:port/database`, without user and password
   * @param from where the address is from: the name of its variable; undefined: the embedded server's own
   * @param why what the connection said, fit for anybody
   */
  constructor(address: string, from: string | undefined, why: string, options: { readonly cause: unknown }) {
    const reason = `${address} (${from ?? 'the embedded server'}): ${why}`
    const remedy =
      from === undefined
        ? 'it is being started or stopped: try again in a moment'
        : `see that it is up, and that ${from} is right`
    super(`the database cannot be used: ${reason}. Remedy: ${remedy}`, options)
    this.reason = reason
    this.remedy = remedy
  }
}
