// What must compile. `tsc` is the test; nothing here runs.
import { NotificationClient, CloseCode, type ClientEvents, type NotificationMessage } from '../../src/index.js'
import { useNotifications } from '../../src/react.js'

export interface Note { title: string }

// As the article writes it.
export const client = new NotificationClient('wss://api.example.com/ws')
client.subscribe('user:123')
export const off: () => void = client.on('notification', (notification) => {
  const data: string = notification.data
  const at: number = notification.timestamp
  void [data, at]
})

// The payload's type follows from what parses it.
export const typed = new NotificationClient('/ws', { parse: (data): Note => JSON.parse(data) as Note })
typed.subscribe('a', ({ data }) => data.title)
typed.on('notification', ({ data }) => data.title)
export const named: NotificationClient<Note> = new NotificationClient<Note>('/ws', { parse: (data, channel) => ({ title: channel + data }) })
export const items = (): string[] => useNotifications('a', { client: typed }).notifications.map(({ data }) => data.title)
export const asked = (): string | undefined => useNotifications<Note>('a').notifications[0]?.data.title
export const plain = (): string | undefined => useNotifications(null).notifications[0]?.data

// Events are told apart by their names, messages by their types.
client.on('state', ({ state, previous, retryAt }) => [state === 'waiting' && retryAt, previous === 'connected'])
client.on('gap', ({ reason, channel }) => reason === 'reconnected' && channel)
client.on('error', ({ code, message }) => code === 'forbidden' && message)
client.on('connected', ({ reconnected, clientId }) => reconnected && clientId)
export const handler = (event: ClientEvents<string>['notification']): NotificationMessage => event
export const kicked: boolean = client.status.code === CloseCode.kicked

export const signed = new NotificationClient(async () => '/ws', { token: async ({ signal }) => (await fetch('/token', { signal })).text() })

// Any WebSocket will do: the platform's, or `ws`, whose events are richer.
export const platform = new NotificationClient('/ws', { WebSocket })
