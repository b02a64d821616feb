/** The database keeps text in another encoding than UTF8: it cannot hold every payload, nor the texts of our own schema. */
export class EncodingUnfit extends Error {
  override readonly name = 'EncodingUnfit'
  /** As PostgreSQL names it. */
  readonly encoding: string
  constructor(database: string, encoding: string) {
    super(
      `the database ${database} has the encoding ${encoding}, and no other than UTF8 can hold every message. ` +
        'An encoding is chosen when a database is made: createdb --encoding UTF8 --template template0 NAME, and name that one in DATABASE_URL',
    )
    this.encoding = encoding
  }
}

/** The server is older than what Tidemark and pg-boss run on. */
export class ServerTooOld extends Error {
  override readonly name = 'ServerTooOld'
  /** As the server says it: `12.22`. */
  readonly version: string
  constructor(version: string, oldestMajor: number) {
    super(
      `PostgreSQL ${version} is too old: Tidemark and pg-boss need ${oldestMajor} or newer. ` +
        'Remedy: upgrade the server, or name a newer one in DATABASE_URL',
    )
    this.version = version
  }
}
