/*
 * Prints the address in the variable URL as variables of libpq, for a shell to evaluate: programs of PostgreSQL then need no
 * address on their command line, which everybody on the host can read. One that cannot be read is not repeated: it has a password.
 */
try {
  for (const [name, value] of Object.entries(variablesOf(process.env['URL'] ?? '')))
    if (value != null && value !== '') process.stdout.write(`export ${name}=${quoted(value)}\n`)
} catch {
  process.stderr.write(
    'deploy: the address of the database is no URL: postgres://user:password@host:5432/name\n',
  )
  process.exitCode = 1
}

function variablesOf(address: string): Readonly<Record<string, string | null>> {
  const { hostname, port, username, password, pathname, searchParams } = new URL(address)
  const mode = searchParams.get('sslmode')
  return {
    // Of IPv6 without its brackets; of a socket a folder.
    PGHOST: decodeURIComponent(hostname).replace(/^\[(.+)\]$/, '$1') || searchParams.get('host'),
    PGPORT: port || searchParams.get('port') || '5432',
    PGUSER: decodeURIComponent(username) || searchParams.get('user'),
    PGPASSWORD: decodeURIComponent(password) || searchParams.get('password'),
    PGDATABASE: decodeURIComponent(pathname.slice(1)),
    // node-postgres' own name for what libpq calls require.
    PGSSLMODE: mode === 'no-verify' ? 'require' : mode,
    PGSSLROOTCERT: searchParams.get('sslrootcert'),
    PGSSLCERT: searchParams.get('sslcert'),
    PGSSLKEY: searchParams.get('sslkey'),
    PGOPTIONS: searchParams.get('options'),
  }
}

/** As one word of a shell, whatever is in it. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}
