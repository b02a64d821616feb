/** The name of a task in an address. No task has a name with NUL, which the database would not even compare. */
export function taskNamed(given: string): string {
  return given.replaceAll('\0', '\ufffd')
}
