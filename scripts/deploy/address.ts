/*
 * Prints the address in the variable URL as variables of libpq, for a shell to evaluate: programs of PostgreSQL then need no
 * address on their command line, which everybody on the host can read.
 */
const url = new URL(process.env['URL'] ?? '')
const variables = {
  PGHOST: url.hostname,
  PGPORT: url.port === '' ? '5432' : url.port,
  PGUSER: url.username,
  PGPASSWORD: url.password,
  PGDATABASE: url.pathname.slice(1),
  PGSSLMODE: url.searchParams.get('sslmode') ?? '',
}
for (const [name, value] of Object.entries(variables))
  if (value !== '') process.stdout.write(`export ${name}=${quoted(decodeURIComponent(value))}\n`)

/** As one word of a shell, whatever is in it. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}
