// The wire, version 1: what PROTOCOL.md describes, as types. The golden files of ../testdata are read by the tests.

/** The WebSocket sub-protocol of this version of the wire. */
export const subprotocol = 'carillon.v1'

/**
 * A place in the history of a channel, `<epoch>-<sequence>`. Reserved for recovery: nothing sends one yet, and what
 * is kept of one now will be understood then.
 */
export type Position = `${number}-${number}`

/** Why a gateway refuses a command. */
export type ErrorCode =
  | 'bad_json' | 'bad_type' | 'bad_channel' | 'too_many_channels'
  | 'forbidden' | 'rate_limited' | 'bad_token' | 'internal'

/** Why something may have been missed; `reconnected` is the client's own. */
export type GapReason = 'redis' | 'overload' | 'slow' | 'reconnected'

interface Stamped {
  /** Unix milliseconds, by the gateway's clock. */
  timestamp: number
}

interface Answer extends Stamped {
  /** The `id` of the command that is answered. This client sends none. */
  id?: string | number
}

export interface ConnectedMessage extends Stamped {
  type: 'connected'
  clientId: string
  userId?: string
  /** When the token ends, in Unix milliseconds. */
  expiresAt?: number
  /** Some message comes at least this often. */
  heartbeatMs?: number
}

export interface AuthenticatedMessage extends Answer {
  type: 'authenticated'
  expiresAt: number
}

export interface SubscribedMessage extends Answer {
  type: 'subscribed'
  channel: string
  /** Reserved: whether all that was missed follows, so that there is no gap. */
  recovered?: boolean
}

export interface UnsubscribedMessage extends Answer {
  type: 'unsubscribed'
  channel: string
}

export interface PongMessage extends Answer {
  type: 'pong'
}

/** What was published. On the wire `data` is a string; the `parse` option makes it a `T`. */
export interface NotificationMessage<T = string> extends Stamped {
  type: 'notification'
  channel: string
  data: T
  /** Reserved. */
  position?: Position
}

/** Publications of `channel`, or without it of any channel, may have been missed: read the current state. */
export interface GapMessage extends Stamped {
  type: 'gap'
  channel?: string
  reason: GapReason
  dropped?: number
}

export interface ErrorMessage extends Answer {
  type: 'error'
  code: ErrorCode
  message: string
  channel?: string
}

export type ServerMessage =
  | ConnectedMessage | AuthenticatedMessage | SubscribedMessage | UnsubscribedMessage
  | PongMessage | NotificationMessage | GapMessage | ErrorMessage

export type Command =
  | { type: 'subscribe' | 'unsubscribe'; channels: readonly string[] }
  | { type: 'ping' }
  | { type: 'auth'; token: string }

/** Reads one frame. Types that are not known pass: a later gateway may say more. Throws if it is no message at all. */
export function decode(frame: unknown): ServerMessage {
  const message = JSON.parse(frame as string) as ServerMessage | null
  if (typeof message?.type !== 'string' || (message.type === 'notification' && typeof message.data !== 'string')) {
    throw new Error('no message')
  }
  return message
}

const batch = 100 // of names of 255 bytes, a command stays below the 64 KiB that a gateway takes by default

/** The commands that say one thing about any number of channels, as few as may be. */
export function* commands(type: 'subscribe' | 'unsubscribe', channels: readonly string[]): Generator<Command> {
  for (let i = 0; i < channels.length; i += batch) yield { type, channels: channels.slice(i, i + batch) }
}

/**
 * The short form of a channel's name, which answers and notifications carry. A name that has the prefix twice stays as
 * it is, for the gateway to refuse: its short form would be another channel's long one. Half a surrogate pair, which
 * would spoil the whole command, becomes U+FFFD as in UTF-8.
 */
export function shortName(channel: string): string {
  return (channel.toWellFormed?.() ?? channel).replace(/^notifications:(?!notifications:)/, '')
}
