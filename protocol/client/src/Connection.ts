import type { Command } from './messages.js'

// As a method, so that handlers of richer events fit.
type Heard<E> = { heard(event: E): void }['heard'] | null

/** As much of a WebSocket as is used: a browser's, Node's, `ws`, or one of your own. */
export interface WebSocketLike {
  readonly readyState: number
  onmessage: Heard<{ data: unknown }>
  onclose: Heard<{ code: number; reason: string }>
  onerror: Heard<unknown>
  send(data: string): void
  close(code?: number, reason?: string): void
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike

interface ConnectionEvents {
  frame(data: unknown): void
  /** The end, told once, and not after close(). */
  lost(code: number, reason: string): void
}

const open = 1 // WebSocket.OPEN, which is not there where there is no WebSocket
const sleep = 90_000 // beyond a silence that throttled timers explain

/**
 * One socket, from dialling to its end. It notices a connection that is open at this end only: after `quiet` ms without
 * a message it asks, and without an answer in `patience` ms the connection is lost.
 */
export class Connection {
  #socket: WebSocketLike
  #on: ConnectionEvents
  #patience: number
  #quiet = 0 // 0: do not watch
  #heardAt = Date.now()
  #asking = false
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(socket: WebSocketLike, patience: number, on: ConnectionEvents) {
    this.#socket = socket
    this.#patience = patience
    this.#on = on
    socket.onmessage = ({ data }) => this.#heard(data)
    socket.onclose = ({ code, reason }) => this.#end(code, reason)
    socket.onerror = () => this.#end(1006, '') // close would follow, with the same code; not so in Node 20
  }

  send(command: Command): void {
    if (this.#socket.readyState === open) this.#socket.send(JSON.stringify(command))
  }

  /** Lets a silence of `quiet` ms be no longer than that; 0 watches nothing. */
  watch(quiet: number): void {
    this.#quiet = quiet
    this.#wait()
  }

  /** Asks whether the gateway is there. After a silence that only sleep explains there is nobody left to ask. */
  probe(): void {
    if (this.#quiet && Date.now() - this.#heardAt > this.#quiet + sleep) return this.#end(1006, 'silence')
    if (this.#asking) return
    this.#asking = true
    this.send({ type: 'ping' })
    const due = Date.now() + this.#patience
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      if (Date.now() < due + this.#patience) return this.#end(1006, 'silence')
      // The page was frozen: an answer may have come and wait behind this timer.
      this.#asking = false
      this.probe()
    }, this.#patience)
  }

  /** Ends it from this end, without a word to the owner. */
  close(code?: number): void {
    clearTimeout(this.#timer)
    const socket = this.#socket
    socket.onmessage = socket.onclose = null
    socket.onerror = () => {} // closing is an error where it is early, and uncaught in Node's ws
    socket.close(code)
  }

  #heard(data: unknown): void {
    this.#heardAt = Date.now()
    if (this.#asking) {
      this.#asking = false
      this.#wait()
    }
    this.#on.frame(data)
  }

  /** A message costs no timer: it stores when it came, and only when the time is up is the real deadline worked out. */
  #wait(): void {
    clearTimeout(this.#timer)
    if (!this.#quiet) return
    const left = this.#heardAt + this.#quiet - Date.now()
    if (left <= 0) return this.probe()
    this.#timer = setTimeout(() => this.#wait(), Math.min(left, this.#quiet)) // a clock may have been set back
  }

  #end(code: number, reason: string): void {
    this.close()
    this.#on.lost(code, reason)
  }
}
