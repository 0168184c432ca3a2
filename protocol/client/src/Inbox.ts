import type { Handler } from './events.js'
import type { GapMessage, NotificationMessage } from './messages.js'
import type { NotificationClient } from './NotificationClient.js'

/** A notification as a list shows it. */
export interface InboxItem<T> extends NotificationMessage<T> {
  /** Unique in its list. */
  readonly key: number
  readonly read: boolean
}

/** Immutable: every change makes a new one. */
export interface InboxSnapshot<T> {
  /** Newest first. */
  readonly notifications: readonly InboxItem<T>[]
  readonly unread: number
  /** Something may have been missed since all was marked as read, or cleared. */
  readonly gap?: GapMessage | undefined
}

export const empty: InboxSnapshot<never> = { notifications: [], unread: 0, gap: undefined }
const linger = 1000 // ms: a change of page, or a second mount, is no reason to unsubscribe
const inboxes = new WeakMap<object, object>()

/** Subscribes to a channel and to the gaps that concern it. Returns how to end both. */
export function follow<T>(
  client: NotificationClient<T>, channel: string,
  onNotification: Handler<NotificationMessage<T>>, onGap: Handler<GapMessage>,
): () => void {
  const short = channel.replace(/^notifications:/, '')
  const unsubscribe = client.subscribe(channel, onNotification)
  const off = client.on('gap', (gap) => {
    if ((gap.channel ?? short) === short) onGap(gap)
  })
  return () => {
    unsubscribe()
    off()
  }
}

/** The inbox of a channel, one for all who look at it. The largest limit holds. */
export function inboxOf<T>(client: NotificationClient<T>, channel: string, limit: number): Inbox<T> {
  const ofClient = (inboxes.get(client) ?? new Map()) as Map<string, Inbox<T>>
  const inbox = ofClient.get(channel) ?? new Inbox(client, channel)
  inboxes.set(client, ofClient)
  ofClient.set(channel, inbox)
  if (inbox.limit < limit) inbox.limit = limit
  return inbox
}

/** What came to one channel while somebody looked: a store as React's useSyncExternalStore takes it. */
export class Inbox<T> {
  limit = 0
  #client: NotificationClient<T>
  #channel: string
  #snapshot: InboxSnapshot<T> = empty
  #lookers = new Set<() => void>()
  #stop: (() => void) | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #keys = 0

  constructor(client: NotificationClient<T>, channel: string) {
    this.#client = client
    this.#channel = channel
  }

  snapshot = (): InboxSnapshot<T> => this.#snapshot

  listen = (looker: () => void): (() => void) => {
    clearTimeout(this.#timer)
    this.#lookers.add(looker)
    this.#stop ??= follow(this.#client, this.#channel, this.#add, (gap) => this.#set({ gap }))
    return () => {
      this.#lookers.delete(looker)
      if (this.#lookers.size) return
      this.#timer = setTimeout(() => { // what comes from now on is not heard, so that the next to look begins anew
        this.#stop?.()
        this.#stop = undefined
        this.#snapshot = empty
      }, linger)
    }
  }

  markRead = (key?: number): void => {
    const { unread, gap } = this.#snapshot
    let left = unread
    const notifications = this.#snapshot.notifications.map((item) => {
      if (item.read || (key ?? item.key) !== item.key) return item
      left--
      return { ...item, read: true }
    })
    // What changes nothing is not told, or an effect that marks as read what it is shown would run for ever.
    if (key === undefined && (unread || gap)) this.#set({ ...empty, notifications })
    else if (left < unread) this.#set({ notifications, unread: left })
  }

  clear = (): void => this.#set(empty)

  #add = (notification: NotificationMessage<T>): void => {
    const { notifications, unread } = this.#snapshot
    const item = { ...notification, key: ++this.#keys, read: false }
    this.#set({ notifications: [item, ...notifications].slice(0, this.limit), unread: unread + 1 })
  }

  #set(change: Partial<InboxSnapshot<T>>): void {
    this.#snapshot = { ...this.#snapshot, ...change }
    for (const looker of this.#lookers) looker()
  }
}
