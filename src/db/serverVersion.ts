import { ServerTooOld } from '../errors.ts'

/** The oldest major version that Tidemark's statements and pg-boss's run on; the suite runs on it (docs/postgres.md). */
export const OLDEST_MAJOR = 13

/** `server_version_num` of a server, as a major version. */
export function majorOf(versionNumber: number): number {
  return Math.floor(versionNumber / 10_000)
}

/** Throws {@link ServerTooOld} for a server below the window. */
export function requireServerVersion(version: string, versionNumber: number): void {
  if (majorOf(versionNumber) < OLDEST_MAJOR) throw new ServerTooOld(version, OLDEST_MAJOR)
}
