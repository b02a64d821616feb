/**
 * Reading a request's body, so that none can hurt the others.
 *
 * - *Too long*: refused by its Content-Length before a byte is read, or at the byte that is too many where it has none.
 * - *Many at once*: what is being read and what waits to be stored is counted together, over all requests. Above the bound new
 *   bytes are refused for now: those who come later wait, memory does not grow. Only bytes that have arrived count, or whoever
 *   announces much and sends nothing would keep everybody out.
 * - *Slow*: cut off at the limit of a request.
 */
import { IntakeFault, invalid } from './intakeFault.ts'

/** Of all requests together; each of its bytes is held some times over while it is parsed. */
const MAX_HELD_BYTES = 64 * 2 ** 20

/** A body of this length at most is counted by what it announces, and read in one go: faster than by chunks. */
const SMALL_BYTES = 64 * 2 ** 10

export interface Held {
  readonly text: string
  readonly bytes: number
  /** Its bytes are not held any more. */
  release(): void
}

export interface BodyReader {
  /** Throws IntakeFault. Whoever gets a body releases it. */
  read(request: Request, maxBytes: number, limitMs: number): Promise<Held>
}

export function createBodyReader(maxHeldBytes = MAX_HELD_BYTES): BodyReader {
  let held = 0

  function hold(bytes: number): void {
    if (held + bytes > maxHeldBytes)
      throw new IntakeFault(503, 'busy', 'too much is being sent at once; please retry')
    held += bytes
  }

  return {
    async read(request, maxBytes, limitMs) {
      const announced = announcedBytes(request, maxBytes)
      let mine = 0
      let isGivenUp = false
      const holdMine = (bytes: number): void => {
        // What was cut off goes on being read until this tells it to stop.
        if (isGivenUp) throw new Error('given up')
        hold(bytes)
        mine += bytes
      }
      const release = (): void => {
        held -= mine
        mine = 0
      }
      try {
        const isSmall = announced !== undefined && announced <= SMALL_BYTES
        if (isSmall) holdMine(announced)
        const reading = isSmall ? whole(request) : chunks(request, maxBytes, holdMine)
        const bytes = await inTime(reading, limitMs)
        if (bytes.length > maxBytes) throw tooLong(maxBytes)
        return { text: decode(bytes), bytes: bytes.length, release }
      } catch (error) {
        isGivenUp = true
        release()
        throw error
      }
    },
  }
}

/** What Content-Length says; undefined where there is none. */
function announcedBytes(request: Request, maxBytes: number): number | undefined {
  const header = request.headers.get('Content-Length')
  if (header === null) return undefined
  const bytes = Number(header)
  if (bytes > maxBytes) throw tooLong(maxBytes)
  return Number.isNaN(bytes) ? undefined : bytes
}

function tooLong(maxBytes: number): IntakeFault {
  return new IntakeFault(413, 'too_large', `a body of ${maxBytes} bytes at most`, 'body')
}

async function whole(request: Request): Promise<Buffer> {
  return Buffer.from(await request.arrayBuffer())
}

async function chunks(request: Request, maxBytes: number, hold: (bytes: number) => void): Promise<Buffer> {
  const parts: Uint8Array[] = []
  let length = 0
  // A request without a body has none to read.
  const body: AsyncIterable<Uint8Array> | null = request.body
  for await (const part of body ?? []) {
    length += part.length
    if (length > maxBytes) throw tooLong(maxBytes)
    hold(part.length)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** The connection of one that is late, or breaks off, is closed by the server; nobody reads what else it brings. */
async function inTime<T>(reading: Promise<T>, limitMs: number): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    late.reject(new IntakeFault(408, 'timeout', `the body did not arrive within ${limitMs} ms`, 'body'))
  }, limitMs)
  try {
    return await Promise.race([reading, late.promise])
  } catch (error) {
    throw error instanceof IntakeFault ? error : invalid('body', 'it broke off before its end')
  } finally {
    clearTimeout(timer)
  }
}

function decode(bytes: Buffer): string {
  try {
    return UTF8.decode(bytes)
  } catch {
    throw invalid('body', 'it is not UTF-8')
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true })
