'use client'

import { createContext, createElement, useCallback, useContext, useEffect, useRef, useSyncExternalStore } from 'react'
import type { ReactElement, ReactNode } from 'react'
import { empty, follow, inboxOf, type InboxSnapshot } from './Inbox.js'
import type { GapMessage, NotificationMessage } from './messages.js'
import type { ConnectionStatus, NotificationClient } from './NotificationClient.js'

export type { InboxItem, InboxSnapshot } from './Inbox.js'

export interface UseNotificationsOptions<T> {
  /** How many are kept: 50. Components that share a channel share its list, and the largest limit holds. */
  limit?: number
  onNotification?: (notification: NotificationMessage<T>) => void
  /** Something may have been missed: the moment to read the current state from where it is kept. */
  onGap?: (gap: GapMessage) => void
  /** Instead of the provider's. `T` follows from it. */
  client?: NotificationClient<T>
}

export interface UseNotifications<T> extends InboxSnapshot<T>, ConnectionStatus {
  /** Marks one as read by its key, or all. */
  markRead: (key?: number) => void
  clear: () => void
}

const Context = createContext<unknown>(undefined)
const idle: ConnectionStatus = { state: 'idle', attempt: 0 }
const noop = (): void => {}
const nothing = { listen: () => noop, snapshot: () => empty, markRead: noop, clear: noop }

/** Hands a client down to the hooks. The client is made once, outside of components. */
export function NotificationProvider<T>({ client, children }: { client: NotificationClient<T>; children?: ReactNode }): ReactElement {
  return createElement(Context.Provider, { value: client }, children)
}

function useClient<T>(own: NotificationClient<T> | undefined): NotificationClient<T> {
  const provided = useContext(Context)
  const client = own ?? (provided as NotificationClient<T> | undefined)
  if (!client) throw new Error('no NotificationProvider')
  return client
}

/** How the connection is. */
export function useConnectionState<T>(own?: NotificationClient<T>): ConnectionStatus {
  const client = useClient(own)
  const listen = useCallback((changed: () => void) => client.on('state', changed), [client])
  return useSyncExternalStore(listen, () => client.status, () => idle)
}

/**
 * What came to a channel while a component looked, newest first. However many look, it is subscribed once. Null, for a
 * user who is not known yet, is no channel.
 */
export function useNotifications<T = string>(channel: string | null, options: UseNotificationsOptions<T> = {}): UseNotifications<T> {
  const client = useClient(options.client)
  const status = useConnectionState(client)
  const inbox = channel === null ? nothing : inboxOf(client, channel, options.limit ?? 50)
  const snapshot: InboxSnapshot<T> = useSyncExternalStore<InboxSnapshot<T>>(inbox.listen, inbox.snapshot, nothing.snapshot)

  const latest = useRef(options)
  useEffect(() => { latest.current = options })
  useEffect(() => {
    if (channel === null) return
    return follow(client, channel, (it) => latest.current.onNotification?.(it), (gap) => latest.current.onGap?.(gap))
  }, [client, channel])

  return { ...status, ...snapshot, markRead: inbox.markRead, clear: inbox.clear }
}
