import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { Window } from 'happy-dom'
import { act, StrictMode, useEffect, type ReactNode } from 'react'
import type { NotificationClient } from '../src/index.js'
import { NotificationProvider, useConnectionState, useNotifications, type UseNotifications, type UseNotificationsOptions } from '../src/react.js'
import { atEnd, connected, settle, world } from './fakes.js'

const dom = new Window()
Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true })
for (const [name, value] of Object.entries({ window: dom, document: dom.document, navigator: dom.navigator })) {
  Object.defineProperty(globalThis, name, { value, configurable: true })
}
const { createRoot } = await import('react-dom/client')
const { renderToString } = await import('react-dom/server')

/** Renders into a page; returns how to render anew and how to unmount. */
async function mount(t: TestContext, ui: ReactNode): Promise<{ text: () => string; show: (ui: ReactNode) => Promise<void>; unmount: () => Promise<void> }> {
  const element = dom.document.createElement('div')
  const root = createRoot(element as unknown as Element)
  const show = (next: ReactNode): Promise<void> => act(async () => root.render(next))
  const unmount = (): Promise<void> => act(async () => root.unmount())
  atEnd(t, unmount)
  await show(ui)
  return { text: () => element.textContent ?? '', show, unmount }
}

let seen: UseNotifications<string>

function Bell({ channel, ...options }: UseNotificationsOptions<string> & { channel: string | null }): ReactNode {
  seen = useNotifications(channel, options)
  return `${seen.state} ${seen.unread}: ${seen.notifications.map(({ data }) => data).join(' ')}`
}

const provided = (client: NotificationClient, ui: ReactNode): ReactNode =>
  <StrictMode><NotificationProvider client={client}>{ui}</NotificationProvider></StrictMode>

test('a bell rings, counts, and is read', async (t) => {
  const w = await connected(t)
  const { text } = await mount(t, provided(w.client, <Bell channel="user:123" />))
  assert.equal(text(), 'connected 0: ')
  await act(async () => { w.socket.notify('user:123', 'one'); w.socket.notify('user:123', 'two'); w.socket.notify('user:9', 'other') })
  assert.equal(text(), 'connected 2: two one')
  const [two, one] = seen.notifications
  assert.ok(one && two && one.key !== two.key && !one.read)
  await act(async () => seen.markRead(one.key))
  assert.deepEqual([seen.unread, seen.notifications.map(({ read }) => read)], [1, [false, true]])
  await act(async () => seen.markRead(one.key))
  assert.equal(seen.unread, 1, 'read once')
  await act(async () => seen.markRead())
  assert.deepEqual([seen.unread, seen.notifications.map(({ read }) => read)], [0, [true, true]])
  await act(async () => seen.clear())
  assert.equal(text(), 'connected 0: ')
})

test('what is looked at may be marked as read in an effect: what changes nothing renders nothing', async (t) => {
  const w = await connected(t)
  let renders = 0
  function Open(): ReactNode {
    const { notifications, unread, gap, markRead } = useNotifications('a')
    useEffect(() => {
      renders++
      markRead()
      markRead(1)
    })
    return `${unread} ${notifications.length} ${gap?.reason}`
  }
  const { text } = await mount(t, provided(w.client, <Open />))
  await act(async () => w.socket.notify('a', 'x'))
  await act(async () => w.socket.say({ type: 'gap', reason: 'redis', timestamp: 1 }))
  assert.equal(text(), '0 1 undefined')
  assert.ok(renders < 10, `${renders} renders`)
})

test('StrictMode and many components make one socket and one subscription', async (t) => {
  const w = await connected(t)
  const { text, unmount } = await mount(t, provided(w.client, <><Bell channel="a" />|<Bell channel="a" />|<Bell channel="notifications:a" /></>))
  await settle()
  assert.equal(w.sockets.length, 1)
  assert.deepEqual(w.socket.sent, [{ type: 'subscribe', channels: ['a'] }])
  await act(async () => w.socket.notify('a', 'x'))
  assert.equal(text(), 'connected 1: x|connected 1: x|connected 1: x')
  await unmount()
  await w.pass(999)
  assert.equal(w.socket.sent.length, 1, 'a change of page is no reason to unsubscribe')
  await w.pass(1)
  assert.deepEqual(w.socket.sent.slice(1), [{ type: 'unsubscribe', channels: ['a'] }])
  assert.deepEqual([...w.client.channels], [])
})

test('who comes back in time finds the list, who comes later begins anew', async (t) => {
  const w = await connected(t)
  const { text, show } = await mount(t, provided(w.client, <Bell channel="a" />))
  await act(async () => w.socket.notify('a', 'x'))
  await show(provided(w.client, null))
  await w.pass(900)
  await show(provided(w.client, <Bell channel="a" />))
  await w.pass(5000)
  assert.equal(text(), 'connected 1: x')
  await show(provided(w.client, null))
  await w.pass(1000)
  await show(provided(w.client, <Bell channel="a" />))
  assert.equal(text(), 'connected 0: ')
})

test('the list is bounded, the count is not', async (t) => {
  const w = await connected(t)
  const { text } = await mount(t, provided(w.client, <Bell channel="a" limit={2} />))
  await act(async () => { for (const data of ['1', '2', '3']) w.socket.notify('a', data) })
  assert.equal(text(), 'connected 3: 3 2')
})

test('the channel may change, and may not be known yet', async (t) => {
  const w = await connected(t)
  const { text, show } = await mount(t, provided(w.client, <Bell channel={null} />))
  await settle()
  assert.deepEqual(w.socket.sent, [])
  seen.markRead()
  await show(provided(w.client, <Bell channel="a" />))
  await settle()
  await act(async () => w.socket.notify('a', 'x'))
  await show(provided(w.client, <Bell channel="b" />))
  assert.equal(text(), 'connected 0: ')
  await w.pass(1000)
  assert.deepEqual(w.socket.sent, [
    { type: 'subscribe', channels: ['a'] }, { type: 'subscribe', channels: ['b'] }, { type: 'unsubscribe', channels: ['a'] },
  ])
})

test('callbacks are the newest ones, and gaps are of the channel or of all', async (t) => {
  const w = await connected(t)
  const heard: string[] = []
  const ui = (name: string): ReactNode => provided(w.client, <Bell channel="a"
    onNotification={({ data }) => heard.push(`${name} ${data}`)} onGap={({ reason }) => heard.push(`${name} ${reason}`)} />)
  const { show } = await mount(t, ui('first'))
  await act(async () => w.socket.notify('a', 'x'))
  await show(ui('second'))
  await settle()
  assert.equal(w.socket.sent.length, 1, 'a new callback subscribes nothing')
  w.client.subscribe('b')
  await act(async () => {
    w.socket.notify('a', 'y')
    w.socket.say({ type: 'gap', reason: 'redis', timestamp: 1 })
    w.socket.say({ type: 'gap', channel: 'a', reason: 'slow', timestamp: 2 })
    w.socket.say({ type: 'gap', channel: 'b', reason: 'overload', timestamp: 3 })
  })
  assert.deepEqual(heard, ['first x', 'second y', 'second redis', 'second slow'])
  assert.equal(seen.gap?.reason, 'slow')
  await act(async () => seen.markRead())
  assert.equal(seen.gap, undefined)
})

test('the state is shown as it changes, with the time of the next attempt', async (t) => {
  const w = await world(t)
  function Chip(): ReactNode {
    const { state, retryAt, attempt } = useConnectionState()
    return `${state} ${retryAt ? retryAt - Date.now() : ''} ${attempt}`
  }
  const { text } = await mount(t, provided(w.client, <Chip />))
  assert.equal(text(), 'connecting  0')
  await act(async () => w.socket.open())
  assert.equal(text(), 'connected  0')
  await act(async () => w.socket.end(1012, 'retry=4000'))
  assert.equal(text(), 'waiting 4000 1')
})

test('rendering on a server shows nothing, and opens nothing', async (t) => {
  const w = await world(t, { autoConnect: false })
  assert.equal(renderToString(provided(w.client, <Bell channel="user:123" />)), 'idle 0: ')
  await settle()
  assert.deepEqual([w.sockets.length, [...w.client.channels]], [0, []])
})

test('a forgotten provider is named', () => {
  assert.throws(() => renderToString(<Bell channel="a" />), /NotificationProvider/)
})
