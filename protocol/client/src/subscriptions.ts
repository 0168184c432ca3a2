import { Emitter } from './events.js'
import type { NotificationMessage } from './messages.js'

/**
 * What the application wants to hear, and what the gateway has been told of it on this connection. A channel is wanted
 * as long as it has a handler. Subscriptions are state: any connection, the first or the next, is brought in line with
 * them by telling it the difference.
 */
export class Subscriptions<T> {
  readonly wanted = new Emitter<Record<string, NotificationMessage<T>>>()
  #told = new Set<string>()
  #acknowledged = new Map<string, number>() // the connection that did so last, counted from 1

  /** Forgets what was told, so that it is told again, but for what that connection acknowledged. */
  forget(connection = -1): void {
    for (const channel of this.#told) if (this.#acknowledged.get(channel) !== connection) this.#told.delete(channel)
  }

  /** What the gateway has yet to be told; afterwards it counts as told. Without a connection nothing does. */
  difference(connected: boolean): { join: string[]; leave: string[] } {
    const { wanted } = this
    for (const channel of this.#acknowledged.keys()) if (!wanted.has(channel)) this.#acknowledged.delete(channel)
    const before = this.#told
    this.#told = new Set(connected ? wanted.names : [])
    return {
      join: [...this.#told].filter((channel) => !before.has(channel)),
      leave: [...before].filter((channel) => !wanted.has(channel)),
    }
  }

  /** Notes an acknowledgement, and reports whether an earlier connection had it: what came in between was missed. */
  acknowledge(channel: string, connection: number): boolean {
    const before = this.#acknowledged.get(channel) ?? connection
    this.#acknowledged.set(channel, connection)
    this.#told.add(channel)
    return before !== connection
  }
}
