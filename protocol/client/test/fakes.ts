// A gateway without a network, and time that passes when told: what the unit tests are made of.
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { NotificationClient, type ClientEvents, type ClientOptions, type Command, type WebSocketLike } from '../src/index.js'

export const epoch = 1_767_225_600_000

/** One end of a connection whose other end is the test. */
export class FakeSocket implements WebSocketLike {
  readyState = 0
  onmessage: WebSocketLike['onmessage'] = null
  onclose: WebSocketLike['onclose'] = null
  onerror: WebSocketLike['onerror'] = null
  sent: Command[] = []
  closed: { code: number | undefined } | undefined

  constructor(readonly url: string, readonly protocols: string[]) {}

  send(data: string): void {
    assert.equal(this.readyState, 1, 'sent on a socket that is not open')
    this.sent.push(JSON.parse(data) as Command)
  }

  close(code?: number): void {
    if (this.readyState === 3) return
    this.readyState = 3
    this.closed = { code }
  }

  // --- what the gateway does ---

  /** Accepts, and says the first message. */
  open(more: object = {}): void {
    this.readyState = 1
    this.say({ type: 'connected', clientId: 'c-1', timestamp: Date.now(), ...more })
  }

  say(message: object): void {
    this.frame(JSON.stringify(message))
  }

  frame(data: unknown): void {
    this.onmessage?.({ data })
  }

  /** Acknowledges every subscription that was asked for. */
  acknowledge(): void {
    for (const command of this.sent) {
      if (command.type !== 'subscribe') continue
      for (const channel of command.channels) this.say({ type: 'subscribed', channel, timestamp: Date.now() })
    }
  }

  notify(channel: string, data: string): void {
    this.say({ type: 'notification', channel, data, timestamp: Date.now() })
  }

  end(code = 1006, reason = ''): void {
    this.readyState = 3
    this.onclose?.({ code, reason })
  }
}

type Recorded<T> = { [K in keyof ClientEvents<T>]: ClientEvents<T>[K][] }

/** Every event of a client, by name. */
function record<T>(client: NotificationClient<T>): Recorded<T> {
  const events: Recorded<T> = {
    connected: [], authenticated: [], subscribed: [], unsubscribed: [], notification: [], gap: [], error: [], state: [],
  }
  const keep = <K extends keyof ClientEvents<T>>(name: K): void => { client.on(name, (event) => { events[name].push(event) }) }
  for (const name of Object.keys(events) as (keyof ClientEvents<T>)[]) keep(name)
  return events
}

const ends = new WeakMap<TestContext, (() => unknown)[]>()

/** Tidies up when the test ends, the last thing first. */
export function atEnd(t: TestContext, tidy: () => unknown): void {
  const stack = ends.get(t) ?? []
  if (!stack.length) t.after(async () => { for (const next of stack.reverse()) await next() })
  stack.push(tidy)
  ends.set(t, stack)
}

/** Lets everything happen that needs no time. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export interface World<T> {
  client: NotificationClient<T>
  events: Recorded<T>
  sockets: FakeSocket[]
  /** The newest socket. */
  readonly socket: FakeSocket
  /** Lets time pass. */
  pass(ms: number): Promise<void>
  /** Lets the clock go on without the timers, as in a page that is frozen or a machine that sleeps. */
  sleep(ms: number): void
}

/** A client that dials fakes, with jitter that is always half of its bound. */
export async function world<T = string>(t: TestContext, options: Partial<ClientOptions<T>> & { url?: ConstructorParameters<typeof NotificationClient>[0] } = {}): Promise<World<T>> {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: epoch })
  const now = Date.now.bind(Date)
  let slept = 0
  t.mock.method(Date, 'now', () => now() + slept)
  const sockets: FakeSocket[] = []
  class Dialled extends FakeSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols)
      sockets.push(this)
    }
  }
  const { url = 'ws://gateway/ws', ...rest } = options
  const client = new NotificationClient<T>(url, { autoConnect: true, WebSocket: Dialled, random: () => 0.5, ...rest } as never)
  atEnd(t, () => client.close())
  const events = record(client)
  await settle()
  return {
    client, events, sockets,
    get socket() { return sockets.at(-1) ?? assert.fail('nothing was dialled') },
    async pass(ms) {
      t.mock.timers.tick(ms)
      await settle()
    },
    sleep(ms) { slept += ms },
  }
}

/** The same, connected. */
export async function connected<T = string>(t: TestContext, options: Parameters<typeof world<T>>[1] & { hello?: object } = {}): Promise<World<T>> {
  const { hello, ...rest } = options
  const w = await world<T>(t, rest)
  w.socket.open(hello)
  await settle()
  return w
}

/** A page around the client: the events of window and document. */
export class FakePage {
  visibilityState: 'visible' | 'hidden' = 'visible'
  #target = new EventTarget()
  #listening = new Set<string>()

  constructor(t: TestContext) {
    const page = this
    const kept = Object.getOwnPropertyDescriptors(globalThis)
    Object.assign(globalThis, {
      addEventListener(type: string, heard: EventListener, options: AddEventListenerOptions) {
        page.#target.addEventListener(type, heard, options)
        page.#listening.add(type)
        options.signal?.addEventListener('abort', () => page.#listening.delete(type))
      },
      document: page,
    })
    t.after(() => {
      for (const name of ['addEventListener', 'document'] as const) {
        Reflect.deleteProperty(globalThis, name)
        const before = kept[name]
        if (before) Object.defineProperty(globalThis, name, before)
      }
    })
  }

  get listeners(): number { return this.#listening.size }

  fire(type: 'online' | 'offline' | 'pageshow' | 'visibilitychange'): void {
    this.#target.dispatchEvent(new Event(type))
  }
}
