import type { Comeback } from './codes.js'

export interface Backoff {
  reconnectDelay: number
  maxReconnectDelay: number
  random: () => number
}

/**
 * Full jitter: anything between nothing and the exponential bound, so that those who were cut off together do not come
 * back together.
 */
export function fullJitter(attempt: number, { reconnectDelay, maxReconnectDelay, random }: Backoff): number {
  return random() * Math.min(maxReconnectDelay, reconnectDelay * 2 ** attempt)
}

/**
 * How long to wait after a connection ended, or undefined for ever. `attempt` counts the connections that ended before
 * one proved stable: from the second on, nobody is let off the backoff, or a gateway that accepts and closes would be
 * dialled in a tight loop.
 */
export function delayAfter(how: Comeback, reason: string, attempt: number, backoff: Backoff): number | undefined {
  if (how === 'never') return undefined
  const told = how === 'now' ? 0 : how === 'hint' ? Number(reason.split('retry=')[1]) : NaN
  const jitter = fullJitter(attempt, backoff)
  return told >= 0 ? Math.max(told, attempt && jitter) : jitter
}
