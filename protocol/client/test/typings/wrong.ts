// What must not compile: an error that does not come is an error, too.
import { NotificationClient, type NotificationMessage } from '../../src/index.js'
import { useNotifications } from '../../src/react.js'
import { client, typed, type Note } from './right.js'

// @ts-expect-error: nobody makes a Note of the string
new NotificationClient<Note>('/ws')
// @ts-expect-error: nor here
new NotificationClient<Note>('/ws', { token: 't' })
// @ts-expect-error: a URL is needed
new NotificationClient()
// @ts-expect-error: an option that does not exist
new NotificationClient('/ws', { reconectDelay: 5 })
// @ts-expect-error: milliseconds, not text
new NotificationClient('/ws', { reconnectDelay: '5s' })
// @ts-expect-error: a token is a string
new NotificationClient('/ws', { token: async () => 7 })
// @ts-expect-error: not one of the four
new NotificationClient('/ws', { comeback: () => 'later' })

// @ts-expect-error: no such event
client.on('message', () => {})
// @ts-expect-error: data is a string
client.on('notification', ({ data }) => data.title)
// @ts-expect-error: as the article reads it, which was never sent
client.on('notification', ({ notification }) => notification)
// @ts-expect-error: data is a Note
typed.on('notification', ({ data }) => data.body)
// @ts-expect-error: a handler takes one event
client.on('gap', (gap, more) => [gap, more])
// @ts-expect-error: no such state
client.on('state', ({ state }) => state === 'open')
// @ts-expect-error: one channel at a time
client.subscribe(['a', 'b'])
// @ts-expect-error: the state is the client's own
client.state = 'closed'
// @ts-expect-error: a set to look at
client.channels.add('a')
// @ts-expect-error: the handler is for strings
typed.subscribe('a', (notification: NotificationMessage<string>) => notification)

export function Component(): unknown {
  // @ts-expect-error: undefined is not "no channel": say null
  useNotifications(undefined)
  // @ts-expect-error: the client's data is a Note
  useNotifications<string>('a', { client: typed })
  const { notifications, markRead } = useNotifications('a', { client: typed })
  // @ts-expect-error: the list is immutable
  notifications.push(notifications[0])
  // @ts-expect-error: there may be none
  notifications[0].data
  // @ts-expect-error: by its key
  markRead('first')
  return notifications
}
