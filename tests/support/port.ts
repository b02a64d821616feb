import { once } from 'node:events'
import { createServer } from 'node:net'

/** A port of the loopback that was free a moment ago: whoever uses it must look whether it still is. */
export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise((done) => server.close(done))
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  return address.port
}
