import type { WebSocketLike } from './Connection.js'
import type { Command, ConnectedMessage, ServerMessage } from './messages.js'
import type { Note } from './tabs.js'

interface HubEvents {
  /** To all tabs, this one included. */
  post(note: Note): void
  /** Calls back when a member's tab is gone. */
  gone(member: string, then: () => void): void
}

/**
 * The one connection, at the leader's, and what each tab subscribed to over it. The gateway is asked for what the first
 * tab wants and told to stop by the last; in between the hub answers.
 */
export class Hub {
  #socket: WebSocketLike
  #id: string
  #on: HubEvents
  #members = new Map<string, Set<string>>()
  #acknowledged = new Set<string>()
  #hello: ConnectedMessage | undefined // as it would read now, but for the time
  #ahead = 0 // of this machine's clock, the gateway's

  constructor(socket: WebSocketLike, id: string, on: HubEvents) {
    this.#socket = socket
    this.#id = id
    this.#on = on
    socket.onmessage = ({ data }) => this.#relay(data as string)
    socket.onclose = ({ code, reason }) => on.post({ kind: 'over', by: id, code, reason })
    this.#welcome(id)
  }

  hear(note: Extract<Note, { from: string }>): void {
    if (note.kind === 'hello') this.#welcome(note.from)
    else if (note.kind === 'send') this.command(note.from, note.data)
    else if (note.lost) this.#on.post({ kind: 'over', by: this.#id, code: 1006, reason: 'silence' })
    else this.#drop(note.from)
  }

  /** Carries out what a member sends: what the others have settled already is answered here. */
  command(from: string, data: string): void {
    const command = JSON.parse(data) as Command
    if (!('channels' in command)) return this.#send(command)
    const joining = command.type === 'subscribe'
    const mine = this.#members.get(from) ?? new Set()
    const channels = command.channels.filter((channel) => {
      if (joining) mine.add(channel)
      else mine.delete(channel)
      const settled = joining ? this.#acknowledged.has(channel) : this.#wanted(channel)
      if (settled) this.#say({ type: joining ? 'subscribed' : 'unsubscribed', channel, timestamp: this.#now() }, from)
      else this.#acknowledged.delete(channel)
      return !settled
    })
    if (channels.length) this.#send({ type: command.type, channels })
  }

  close(): void {
    this.#socket.onmessage = this.#socket.onclose = null
    this.#socket.close(1000)
  }

  #now(): number { return Date.now() + this.#ahead }

  #wanted(channel: string): boolean { return [...this.#members.values()].some((channels) => channels.has(channel)) }

  #welcome(member: string): void {
    if (this.#members.has(member)) return // a second hello, to a leader that came meanwhile
    this.#on.gone(member, () => this.#drop(member))
    this.#members.set(member, new Set())
    this.#on.post({ kind: 'welcome', by: this.#id, to: member })
    if (this.#hello) this.#say({ ...this.#hello, timestamp: this.#now() }, member)
  }

  #drop(member: string): void {
    this.command(member, JSON.stringify({ type: 'unsubscribe', channels: [...this.#members.get(member) ?? []] }))
    this.#members.delete(member)
  }

  #send(command: Command): void {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(command))
  }

  #say(message: ServerMessage, to: string): void {
    this.#on.post({ kind: 'say', by: this.#id, to, data: JSON.stringify(message) })
  }

  #relay(data: string): void {
    this.#on.post({ kind: 'say', by: this.#id, data })
    try {
      if (!data.startsWith('{"type":"notification"')) this.#note(JSON.parse(data) as ServerMessage)
    } catch {} // no message: the clients will say so
  }

  #note(message: ServerMessage): void {
    if (message.type === 'connected') {
      this.#hello = message
      this.#ahead = message.timestamp - Date.now()
    } else if (message.type === 'authenticated' && this.#hello) {
      this.#hello = { ...this.#hello, expiresAt: message.expiresAt }
    } else if (message.type === 'subscribed' && this.#wanted(message.channel)) {
      this.#acknowledged.add(message.channel)
    }
  }
}
