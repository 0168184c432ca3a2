// One socket for all tabs of a browser.
//
// The option `WebSocket: sharedSocket()` gives each tab's client a socket of its own to talk to, of which only one has a
// connection: whoever holds the Web Lock leads. The others reach it over a BroadcastChannel. When the leader goes, the
// sockets of all tabs end with a code that says "come back at once", and so hand-over is a reconnect like any other:
// everything is subscribed again and a gap is told. Nothing is kept beyond the life of a socket.
import type { WebSocketConstructor, WebSocketLike } from './Connection.js'
import { Hub } from './Hub.js'

export interface SharedSocketOptions {
  /** Tabs with the same name share a socket, and hear with its token: say one for each user who may be signed in. */
  name?: string
}

/** What tabs say to each other. `from` a member; `by` the leader, `to` one member or all. */
export type Note =
  | { kind: 'hello'; from: string }
  | { kind: 'send'; from: string; data: string }
  | { kind: 'leave'; from: string; lost: boolean }
  | { kind: 'lead'; by: string }
  | { kind: 'welcome'; by: string; to: string }
  | { kind: 'say'; by: string; to?: string | undefined; data: string }
  | { kind: 'over'; by: string; code: number; reason: string }

const comeAtOnce = 4200
const lost = 1006
const refused = 4000
const patience = 2000 // ms for a leader to answer; one that is frozen does not

/** A constructor for the option `WebSocket` that makes one socket serve all tabs. Without Web Locks it serves its own. */
export function sharedSocket({ name = '' }: SharedSocketOptions = {}): WebSocketConstructor {
  return class {
    constructor(url: string, protocols: string[]) {
      const able = globalThis.navigator?.locks && globalThis.BroadcastChannel
      return able ? new SharedSocket(`carillon:${name}:${url}`, url, protocols) : new WebSocket(url, protocols)
    }
  } as unknown as WebSocketConstructor
}

class SharedSocket implements WebSocketLike {
  readyState = 0
  onmessage!: WebSocketLike['onmessage']
  onclose!: WebSocketLike['onclose']
  onerror!: WebSocketLike['onerror']

  #id = crypto.randomUUID()
  #name: string
  #dial: () => WebSocketLike
  #wire: BroadcastChannel
  #hub: Hub | undefined // while it leads
  #leader = ''
  #over = new AbortController()
  #ended = new Promise<unknown>((resolve) => { this.#over.signal.onabort = resolve })
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(name: string, url: string, protocols: string[]) {
    this.#name = name
    this.#dial = () => new WebSocket(url, protocols)
    this.#wire = new BroadcastChannel(name)
    this.#wire.onmessage = ({ data }) => this.#hear(data as Note)
    // Held as long as the socket lives: the leader waits for it, and so knows when a tab is gone without a word.
    navigator.locks.request(name + this.#id, () => {
      this.#hello()
      this.#compete(this.#over)
      return this.#ended
    }).catch(() => { // there are locks, but not for this page, as in a sandboxed frame: it leads itself alone
      this.#wire.onmessage = null
      this.#post = () => {}
      return this.#lead()
    }).catch(this.#failed)
  }

  send(data: string): void {
    if (this.#hub) this.#hub.command(this.#id, data)
    else this.#post({ kind: 'send', from: this.#id, data })
  }

  /** With 1000 this tab leaves; without, the connection is given up for all of them. */
  close(code?: number): void {
    if (this.readyState === 3) return
    if (this.#hub) this.#post({ kind: 'over', by: this.#id, code: code ? comeAtOnce : lost, reason: '' })
    else this.#post({ kind: 'leave', from: this.#id, lost: !code })
    this.#end(code ?? lost, '')
  }

  #post = (note: Note): void => this.#wire.postMessage(note)

  /** Another tab took the lock, this end is over; or else the socket refuses what it is to dial, and will again. */
  #failed = ({ name, message }: Error): void => this.#end(name === 'AbortError' ? comeAtOnce : refused, message)

  #hello(): void {
    if (this.readyState || this.#hub) return
    this.#post({ kind: 'hello', from: this.#id })
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#compete({ steal: true }), patience * (1 + Math.random()))
  }

  #compete(options: LockOptions): void {
    navigator.locks.request(this.#name, options, () => this.#lead()).catch(this.#failed)
  }

  /** Runs when the lock is held. A follower gets it because its leader is gone. */
  #lead(): Promise<unknown> | void {
    if (this.readyState === 3) return
    this.#post({ kind: 'lead', by: this.#id })
    if (this.readyState === 1) return this.#end(comeAtOnce, '')
    clearTimeout(this.#timer)
    this.#hub = new Hub(this.#dial(), this.#id, {
      post: (note) => {
        this.#post(note)
        this.#hear(note)
      },
      gone: (member, then) => void navigator.locks.request(this.#name + member, this.#over, then).catch(() => {}),
    })
    return this.#ended
  }

  #hear(note: Note): void {
    if ('from' in note) return this.#hub?.hear(note)
    if (note.kind === 'lead') {
      if (this.readyState === 0) this.#hello()
      else if (note.by !== this.#leader) this.#end(comeAtOnce, '')
    } else if (note.kind === 'welcome' && note.to === this.#id) {
      clearTimeout(this.#timer)
      this.#leader = note.by
    } else if (note.by !== this.#leader) {
      return
    } else if (note.kind === 'over') {
      this.#end(note.code, note.reason)
    } else if (note.kind === 'say' && (note.to ?? this.#id) === this.#id) {
      this.readyState = 1
      this.onmessage?.({ data: note.data })
    }
  }

  #end(code: number, reason: string): void {
    if (this.readyState === 3) return
    this.readyState = 3
    clearTimeout(this.#timer)
    this.#hub?.close()
    this.#over.abort()
    this.#wire.close()
    this.onclose?.({ code, reason })
  }
}
