import { comeback, type Comeback } from './codes.js'
import type { WebSocketConstructor } from './Connection.js'

/** Thrown by a token function: there is no token to be had, nobody is signed in. The client stops. */
export class UnauthorizedError extends Error {
  override name = 'UnauthorizedError'
}

export interface TokenContext {
  /** What the token is for: a new connection, or one whose token is about to end. */
  reason: 'connect' | 'refresh'
  /** Aborted when nobody waits for the token any more. */
  signal: AbortSignal
}

export type Token = string | ((context: TokenContext) => string | Promise<string>)

/** Where the gateway is; a function is asked for each connection. */
export type Url = string | (() => string | Promise<string>)

/** Makes of what was published, a string on the wire, what the application works with. */
export type Parse<T> = (data: string, channel: string) => T

export interface ClientOptions<T = string> {
  /** Makes `data` a `T`: `(data) => JSON.parse(data)`, or a schema's parser. What it throws is an `error` event `bad_data`. */
  parse?: Parse<T>
  /** Sent as a sub-protocol, so that no log has it; a function is asked for each connection, and before a token ends. */
  token?: Token
  /** Connect at once: true in browsers and their workers, false elsewhere, where pages are rendered. */
  autoConnect?: boolean
  /** Bound of the first wait before a reconnect, in ms; each further one doubles. 1000. */
  reconnectDelay?: number
  /** Bound of every wait, in ms. 30,000. */
  maxReconnectDelay?: number
  /** Attempts in a row before it gives up. Infinity. */
  maxReconnectAttempts?: number
  /** How long a connection must live, in ms, for the attempts to be counted from 0 again. 5000. */
  stableAfter?: number
  /** How long an attempt may take, in ms, the token and the gateway's first message included. 10,000. */
  connectTimeout?: number
  /**
   * Silence, in ms, after which the gateway is asked whether it is there; 0 never asks. 25,000: below the gateway's own
   * 30 s, so that the one ping replaces the other.
   */
  pingInterval?: number
  /** How long that answer may take, in ms. 5000. */
  pingTimeout?: number
  /** Look at once when the page wakes up or the network comes or goes. True. */
  reconnectOnEvents?: boolean
  /** Whether and how to come back after a close code, instead of the table that the gateway shares. */
  comeback?: (code: number, reason: string) => Comeback
  /** The socket to use: Node's `ws`, a test's, or one for all tabs from `@carillon-ws/client/tabs`. */
  WebSocket?: WebSocketConstructor
  /** In [0, 1). */
  random?: () => number
}

/** The options, and the default of what is not given or given as undefined: a delay of NaN would be none. */
export function completed<T>(options: ClientOptions<T>) {
  const all = {
    reconnectDelay: 1000,
    maxReconnectDelay: 30_000,
    maxReconnectAttempts: Infinity,
    stableAfter: 5000,
    connectTimeout: 10_000,
    pingInterval: 25_000,
    pingTimeout: 5000,
    reconnectOnEvents: true,
    comeback: comeback as NonNullable<ClientOptions['comeback']>,
    random: Math.random as () => number,
  }
  const byName = all as Record<string, unknown>
  for (const name in options) byName[name] = options[name as keyof typeof options] ?? byName[name]
  return all as ClientOptions<T> & typeof all
}
