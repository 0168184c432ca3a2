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
  /** The connection that acknowledged last, counted from 1; a half more: the one that was first told and never answered. */
  #heard = new Map<string, number>()

  /** Forgets what was told, so that it is told again, but for what that connection acknowledged. */
  forget(connection = -1): void {
    for (const channel of this.#told) if (this.#heard.get(channel) !== connection) this.#told.delete(channel)
  }

  /** What the gateway has yet to be told; afterwards it counts as told. Without a connection, 0, nothing does. */
  difference(connection: number): { join: string[]; leave: string[] } {
    const before = this.#told
    const names = [...this.wanted.names]
    this.#heard = new Map(names.map((channel) => [channel, this.#heard.get(channel) || connection && connection + 0.5]))
    this.#told = new Set(connection ? names : [])
    return {
      join: [...this.#told].filter((channel) => !before.has(channel)),
      leave: [...before].filter((channel) => !this.#heard.has(channel)),
    }
  }

  /** Notes an acknowledgement, and reports whether an earlier connection was told: what came in between was missed. */
  acknowledge(channel: string, connection: number): boolean {
    const before = this.#heard.get(channel)
    this.#heard.set(channel, connection)
    return before! < connection // false of one that is not told yet
  }
}
