import { delayAfter, fullJitter } from './backoff.js'
import { Connection, type WebSocketConstructor, type WebSocketLike } from './Connection.js'
import { Emitter, type Handler } from './events.js'
import {
  commands, decode, shortName, subprotocol,
  type AuthenticatedMessage, type ConnectedMessage, type ErrorCode, type GapMessage, type NotificationMessage,
  type ServerMessage, type SubscribedMessage, type UnsubscribedMessage,
} from './messages.js'
import { completed, UnauthorizedError, type ClientOptions, type Parse, type TokenContext, type Url } from './options.js'
import { Subscriptions } from './subscriptions.js'
import { onWake } from './wake.js'

/** idle → connecting → connected → waiting → connecting …; closed by close(), by a code that says so, or on giving up. */
export type ConnectionState = 'idle' | 'connecting' | 'connected' | 'waiting' | 'closed'

/** A snapshot: every change makes a new object. */
export interface ConnectionStatus {
  readonly state: ConnectionState
  /** Attempts that failed in a row. */
  readonly attempt: number
  /** While waiting: when the next attempt begins, as Date.now() tells. */
  readonly retryAt?: number
  /** While connected: the gateway's name for this connection. */
  readonly clientId?: string
  /** While waiting or closed: why the last connection ended. */
  readonly code?: number
  readonly reason?: string
}

/** What went wrong. The codes of the gateway, and those of this side. */
export interface ClientError {
  code: ErrorCode | 'bad_message' | 'bad_data' | 'bad_url' | 'no_token' | 'no_socket' | 'unauthorized'
  message: string
  channel?: string | undefined
  cause?: unknown
}

export interface ClientEvents<T> {
  connected: ConnectedMessage & { reconnected: boolean }
  authenticated: AuthenticatedMessage
  subscribed: SubscribedMessage
  unsubscribed: UnsubscribedMessage
  notification: NotificationMessage<T>
  gap: GapMessage
  error: ClientError
  state: ConnectionStatus & { previous: ConnectionState }
}

// The codes that are acted on here; the others go by the table.
const normal = 1000
const lost = 1006
const badToken = 4001

const longestTimer = 2 ** 31 - 1 // beyond it they overflow, and fire at once

/** Hears what is published to the channels it subscribed to, whatever becomes of the connection. */
export class NotificationClient<T = string> {
  #url: Url
  #options: ReturnType<typeof completed<T>>
  #events = new Emitter<ClientEvents<T>>()
  #subscriptions = new Subscriptions<T>()
  #status: ConnectionStatus = { state: 'idle', attempt: 0 }

  #connection: Connection | undefined
  #phase = new AbortController() // an attempt and the connection that it led to, or a wait
  #timers: ReturnType<typeof setTimeout>[] = [] // of this phase, those that fired included: few
  #awake: (() => void) | undefined // removes the listeners
  #flushing = false
  #attempt = 0
  #connectedAt = 0 // 0: not connected
  #connections = 0
  #refusals = 0 // on this connection
  #granted: unknown // the message that told until when the token in use is good

  constructor(url: Url, options: ClientOptions<T> & { parse: Parse<T> })
  constructor(url: Url, ...options: string extends T ? [options?: ClientOptions<T>] : [never])
  constructor(url: Url, options: ClientOptions<T> = {}) {
    this.#url = url
    this.#options = completed(options)
    if (options.autoConnect ?? ('window' in globalThis || 'importScripts' in globalThis)) this.connect()
  }

  /** Calls the handler on every event of this name, until the function that it returns is called. */
  on<K extends keyof ClientEvents<T>>(event: K, handler: Handler<ClientEvents<T>[K]>): () => void {
    return this.#events.on(event, handler)
  }

  /**
   * Subscribes, now and on every later connection. Whoever subscribes to a channel that is subscribed already shares
   * it; the function that is returned takes back this one call.
   */
  subscribe(channel: string, handler: Handler<NotificationMessage<T>> = () => {}): () => void {
    const off = this.#subscriptions.wanted.on(shortName(channel), handler)
    this.#flush()
    return () => {
      off()
      this.#flush()
    }
  }

  /** Ends the subscription, whoever holds it. */
  unsubscribe(channel: string): void {
    this.#subscriptions.wanted.off(shortName(channel))
    this.#flush()
  }

  /** The channels that are subscribed, or will be once there is a connection. */
  get channels(): ReadonlySet<string> { return new Set(this.#subscriptions.wanted.names) }

  get state(): ConnectionState { return this.#status.state }

  get status(): ConnectionStatus { return this.#status }

  /** Connects, unless it is connected or about to be. Brings a closed client back. */
  connect(): void {
    if (this.state === 'idle' || this.state === 'closed') this.reconnect()
  }

  /** Connects anew and at once, from whatever state. */
  reconnect(): void {
    if (this.#options.reconnectOnEvents) this.#awake ??= onWake((up) => this.#wake(up))
    this.#attempt = 0
    void this.#connect()
  }

  /** Ends the connection, every timer and every listener. Subscriptions and handlers stay, for connect(). */
  close(): void {
    if (this.state !== 'closed') this.#stop(normal, 'closed')
  }

  /** Resolves once connected, now or later; rejects when the client is closed. */
  ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = ({ state, reason }: ConnectionStatus): void => {
        if (state === 'connected') resolve()
        else if (state === 'closed') reject(new Error(reason))
        else return
        off()
      }
      const off = this.on('state', look)
      look(this.#status)
    })
  }

  // --- the connection ---

  async #connect(): Promise<void> {
    const signal = this.#enter()
    this.#after(this.#options.connectTimeout, () => { if (!this.#connectedAt) this.#lost(lost, 'timeout') })
    this.#become({ state: 'connecting' })
    let step: ClientError['code'] = 'bad_url'
    try {
      const url = typeof this.#url === 'function' ? await this.#url() : this.#url
      step = 'no_token'
      if (signal.aborted) return
      const token = await this.#token('connect', signal)
      if (signal.aborted) return
      step = 'no_socket'
      this.#connection = new Connection(this.#socket(url, token), this.#options.pingTimeout, {
        frame: (data) => this.#receive(data),
        lost: (code, reason) => this.#lost(code, reason),
      })
    } catch (cause) {
      if (!signal.aborted) this.#hindered(step, cause)
    }
  }

  #socket(url: string, token: string): WebSocketLike {
    const Socket = this.#options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined)
    if (!Socket) throw new Error('no WebSocket')
    return new Socket(url, token ? [subprotocol, `bearer.${token}`] : [subprotocol])
  }

  /** Leaves what is under way, an attempt, a connection or a wait, and enters what comes next. */
  #enter(closeCode?: number): AbortSignal {
    for (const timer of this.#timers.splice(0)) clearTimeout(timer)
    this.#phase.abort()
    this.#phase = new AbortController()
    this.#connection?.close(closeCode)
    this.#connection = undefined
    this.#subscriptions.forget()
    if (this.#connectedAt && Date.now() - this.#connectedAt >= this.#options.stableAfter) this.#attempt = 0
    this.#connectedAt = this.#refusals = 0
    return this.#phase.signal
  }

  /** Does something later, unless the phase is over by then. */
  #after(ms: number, then: () => unknown): void {
    this.#timers.push(setTimeout(then, Math.min(ms, longestTimer)))
  }

  #lost(code: number, reason: string): void {
    this.#enter()
    const attempt = this.#attempt++
    const delay = delayAfter(this.#options.comeback(code, reason), reason, attempt, this.#options)
    if (delay === undefined) this.#stop(code, reason)
    else if (attempt >= this.#options.maxReconnectAttempts) this.#stop(code, 'gave up')
    else {
      this.#after(delay, () => this.#connect())
      this.#become({ state: 'waiting', retryAt: Date.now() + delay, code, reason })
    }
    if (code === badToken) this.#fail('unauthorized', new UnauthorizedError(reason))
  }

  #stop(code: number, reason: string): void {
    this.#enter(normal)
    this.#awake?.()
    this.#awake = undefined
    this.#become({ state: 'closed', code, reason })
  }

  #wake(up: boolean): void {
    if (this.#connectedAt) this.#connection?.probe()
    else if (up && this.state === 'waiting') this.reconnect()
  }

  // --- what comes in ---

  #receive(frame: unknown): void {
    let message: ServerMessage
    try {
      message = decode(frame)
    } catch (cause) {
      return this.#fail('bad_message', cause)
    }
    const { type } = message
    // A straggler of a subscription that ended, or what another tab subscribed to.
    if ('channel' in message && type !== 'unsubscribed' && type !== 'error' && !this.#subscriptions.wanted.has(message.channel as string)) return
    switch (type) {
      case 'connected': return this.#connected(message)
      case 'subscribed': return this.#subscribed(message)
      case 'notification': return this.#notification(message)
      case 'error': return this.#error(message)
      case 'authenticated':
        this.#refreshBefore(message)
        return this.#events.emit(type, message)
      case 'unsubscribed':
      case 'gap': return this.#events.emit(type, message)
    }
  }

  #connected(message: ConnectedMessage): void {
    this.#connectedAt = Date.now()
    const { pingInterval, pingTimeout } = this.#options
    this.#connection?.watch(Math.min(message.heartbeatMs ? message.heartbeatMs + pingTimeout : pingInterval, longestTimer))
    this.#refreshBefore(message)
    this.#become({ state: 'connected', clientId: message.clientId })
    if (this.#connectedAt) this.#events.emit('connected', { ...message, reconnected: this.#connections++ > 0 })
    this.#flush()
  }

  #subscribed(message: SubscribedMessage): void {
    const { channel, timestamp, recovered } = message
    const again = this.#subscriptions.acknowledge(channel, this.#connections)
    this.#events.emit('subscribed', message)
    // Only now: whoever reads the current state from here on misses nothing more.
    if (again && !recovered) this.#events.emit('gap', { type: 'gap', channel, reason: 'reconnected', timestamp })
  }

  #notification(message: NotificationMessage): void {
    const { channel, data } = message
    const { parse } = this.#options
    let notification: NotificationMessage<T>
    try {
      notification = { ...message, data: parse ? parse(data, channel) : data as T }
    } catch (cause) {
      return this.#fail('bad_data', cause, channel)
    }
    this.#subscriptions.wanted.emit(channel, notification)
    this.#events.emit('notification', notification)
  }

  #error(error: ClientError): void {
    if (error.code === 'rate_limited' || error.code === 'internal') {
      // Refused for now, not for ever, and not by name: a command that comes too soon is not looked into.
      this.#subscriptions.forget(this.#connections)
      this.#after(fullJitter(++this.#refusals, this.#options), () => this.#flush())
    }
    this.#events.emit('error', error)
  }

  // --- what goes out ---

  /** Tells the gateway what changed, once for all that changes in this turn. */
  #flush(): void {
    if (this.#flushing) return
    this.#flushing = true
    queueMicrotask(() => {
      this.#flushing = false
      const { join, leave } = this.#subscriptions.difference(this.#connectedAt && this.#connections)
      for (const command of commands('unsubscribe', leave)) this.#connection?.send(command)
      for (const command of commands('subscribe', join)) this.#connection?.send(command)
    })
  }

  async #token(reason: TokenContext['reason'], signal: AbortSignal): Promise<string> {
    const { token = '' } = this.#options
    return typeof token === 'function' ? token({ reason, signal }) : token
  }

  /** Asks for the next token while this one is good. Counted by its life: the gateway's clock and ours may differ. */
  #refreshBefore(granted: ConnectedMessage | AuthenticatedMessage): void {
    if (!granted.expiresAt || typeof this.#options.token !== 'function') return
    const life = granted.expiresAt - granted.timestamp
    const margin = Math.min(life, 120_000) * (1 + this.#options.random()) / 4 // up to a minute; spread, or all ask at once
    const { signal } = this.#phase
    this.#granted = granted
    const refresh = async (): Promise<void> => {
      if (granted !== this.#granted) return // the next token was taken, from here or from another tab
      try {
        const token = await this.#token('refresh', signal)
        if (signal.aborted) return
        this.#connection?.send({ type: 'auth', token })
        this.#after(margin / 4, refresh) // until one is taken: the gateway may not have fetched its key yet
      } catch (cause) { // the gateway ends the connection in time, and for the next one a token is asked for again
        if (!signal.aborted) this.#hindered('no_token', cause)
      }
    }
    this.#after(life - margin, refresh)
  }

  // --- what is told ---

  /**
   * Does about an error on the way to a connection or a token what is to be done, and then tells: a handler that closes
   * or reconnects has the last word.
   */
  #hindered(step: ClientError['code'], cause: unknown): void {
    const final = cause instanceof UnauthorizedError
    if (final) this.#stop(badToken, cause.message)
    else if (step === 'no_socket') this.#stop(lost, step) // what the constructor refuses it will refuse again
    else if (!this.#connectedAt) this.#lost(lost, step)
    this.#fail(final ? 'unauthorized' : step, cause)
  }

  #fail(code: ClientError['code'], cause: unknown, channel?: string): void {
    this.#events.emit('error', { code, message: String(cause), cause, channel })
  }

  #become(status: Omit<ConnectionStatus, 'attempt'>): void {
    const previous = this.state
    this.#status = { ...status, attempt: this.#attempt }
    this.#events.emit('state', { ...this.#status, previous })
  }
}
