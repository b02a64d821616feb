/**
 * Reading a request's body, so that none can hurt the others.
 *
 * - *Too long*: refused by its Content-Length before a byte is read, or at the byte that is too many where it has none.
 * - *Many at once*: what is being read and what waits to be stored is counted together, over all requests. Above the bound new
 *   bytes are refused for now: those who come later wait, memory does not grow. Only bytes that have arrived count, or whoever
 *   announces much and sends nothing would keep everybody out. A small body is read in one go, faster than by chunks, and so
 *   counts only at its end; what such bodies announce has a bound of its own, beyond which they are read by chunks like others.
 * - *Strangers*: whose signature is still to be judged, since that needs the whole body, shares a part of both bounds with its
 *   like. It keeps out nobody who has the token.
 * - *Slow*: cut off at the limit of a request.
 */
import { IntakeFault, invalid } from './intakeFault.ts'

/** Of all requests together; each of its bytes is held some times over while it is parsed. */
const MAX_HELD_BYTES = 64 * 2 ** 20

/** The part of it that strangers have. The longest body that a config may allow fits in. */
const STRANGERS_SHARE = 1 / 4

/** A body that announces so many bytes at most is read in one go. */
const SMALL_BYTES = 64 * 2 ** 10

/** What all that are read in one go may announce together, as a part of the bound. */
const AT_ONCE_SHARE = 1 / 8

export interface Held {
  readonly text: string
  readonly bytes: number
  /** Its sender is no stranger any more. */
  known(): void
  /** Its bytes are not held any more. */
  release(): void
}

export interface ReadOptions {
  readonly maxBytes: number
  readonly limitMs: number
  /** Who sends it is not known yet. */
  readonly isStranger: boolean
}

export interface BodyReader {
  /** Throws IntakeFault. Whoever gets a body releases it. */
  read(request: Request, options: ReadOptions): Promise<Held>
}

/** What is counted of some requests together, in bytes. */
interface Share {
  readonly max: number
  held: number
  /** Announced by those that are being read in one go. */
  atOnce: number
}

export function createBodyReader(maxHeldBytes = MAX_HELD_BYTES): BodyReader {
  const all: Share = { max: maxHeldBytes, held: 0, atOnce: 0 }
  const strangers: Share = { max: maxHeldBytes * STRANGERS_SHARE, held: 0, atOnce: 0 }

  return {
    async read(request, { maxBytes, limitMs, isStranger }) {
      const announced = announcedBytes(request, maxBytes)
      let shares = isStranger ? [all, strangers] : [all]
      let mine = 0
      let isGivenUp = false
      const holdMine = (bytes: number): void => {
        // What was cut off goes on being read until this tells it to stop.
        if (isGivenUp) throw new Error('given up')
        if (shares.some(({ held, max }) => held + bytes > max))
          throw new IntakeFault(503, 'busy', 'too much is being sent at once; please retry')
        for (const share of shares) share.held += bytes
        mine += bytes
      }
      const release = (): void => {
        for (const share of shares) share.held -= mine
        mine = 0
      }
      const known = (): void => {
        if (shares.includes(strangers)) strangers.held -= mine
        shares = [all]
      }
      try {
        const reading =
          announced !== undefined && mayBeAtOnce(shares, announced)
            ? atOnce(request, shares, announced, holdMine)
            : chunks(request, maxBytes, holdMine)
        const bytes = await inTime(reading, limitMs)
        if (bytes.length > maxBytes) throw tooLong(maxBytes)
        return { text: decode(bytes), bytes: bytes.length, known, release }
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

function mayBeAtOnce(shares: readonly Share[], announced: number): boolean {
  return (
    announced <= SMALL_BYTES && shares.every((share) => share.atOnce + announced <= share.max * AT_ONCE_SHARE)
  )
}

async function atOnce(
  request: Request,
  shares: readonly Share[],
  announced: number,
  hold: (bytes: number) => void,
): Promise<Buffer> {
  for (const share of shares) share.atOnce += announced
  try {
    const bytes = Buffer.from(await request.arrayBuffer())
    hold(bytes.length)
    return bytes
  } finally {
    for (const share of shares) share.atOnce -= announced
  }
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
