import type { DoctorContext } from '../../src/doctor/check.ts'

/** A context whose database answers everything with these rows: for what no test can plant. */
export function standIn(rows: readonly Record<string, unknown>[]): DoctorContext {
  const database = () => ({ query: () => Promise.resolve({ rows }) })
  // Only what the check at hand asks for.
  return { database } as unknown as DoctorContext
}
