// A tab that shares its socket with the others; what it hears is in window.heard.
import { NotificationClient } from '../../../src/index.js'
import { sharedSocket } from '../../../src/tabs.js'

const query = new URLSearchParams(location.search)
const client = new NotificationClient(query.get('gateway') ?? '', {
  reconnectDelay: 50, WebSocket: sharedSocket({ name: query.get('user') ?? '' }),
})
const heard: string[] = []
client.on('notification', ({ channel, data }) => heard.push(`${channel} ${data}`))
client.on('gap', ({ channel, reason }) => heard.push(`gap ${channel} ${reason}`))
client.on('subscribed', ({ channel }) => heard.push(`subscribed ${channel}`))
for (const channel of query.getAll('channel')) client.subscribe(channel)
Object.assign(window, { client, heard })
