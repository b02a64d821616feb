import type { Context, MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { Env } from './access.ts'
import type { Frame } from './frame.ts'
import { whole } from './view/text.ts'

/** Lets through forms of so many bytes at most; a larger one is answered with what it is, and nothing of it is done. */
export function formLimit(frame: Frame, maxBytes: number): MiddlewareHandler<Env> {
  return bodyLimit({
    maxSize: maxBytes,
    onError: (context: Context<Env>) =>
      frame.problem(
        context,
        413,
        'That is too much at once',
        `This form is larger than ${whole(maxBytes)} bytes: nothing was done.`,
      ),
  })
}
