// Subscriptions are state: what is subscribed does not depend on when, or on which connection.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connected, settle, world } from './fakes.js'

test('subscribing before the connection is there works, as in the article', async (t) => {
  const w = await world(t)
  const data: string[] = []
  w.client.on('notification', (notification) => data.push(notification.data))
  w.client.subscribe('user:123')
  await settle()
  w.socket.open()
  await settle()
  assert.deepEqual(w.socket.sent, [{ type: 'subscribe', channels: ['user:123'] }])
  w.socket.acknowledge()
  w.socket.notify('user:123', 'hello')
  assert.deepEqual(data, ['hello'])
  assert.deepEqual(w.events.gap, [], 'a first subscription missed nothing')
})

test('everything is subscribed again after a reconnect, in one frame', async (t) => {
  const w = await connected(t)
  for (const channel of ['a', 'b', 'c']) {
    w.client.subscribe(channel)
    await settle()
  }
  w.client.unsubscribe('b')
  await settle()
  w.socket.end()
  w.client.subscribe('d')
  await w.pass(500)
  w.socket.open()
  await settle()
  assert.deepEqual(w.socket.sent, [{ type: 'subscribe', channels: ['a', 'c', 'd'] }])
})

test('what changes in one turn is told in one command, and what changes back is not told', async (t) => {
  const w = await connected(t)
  const off = w.client.subscribe('flicker')
  w.client.subscribe('a')
  w.client.subscribe('b')
  off()
  await settle()
  assert.deepEqual(w.socket.sent, [{ type: 'subscribe', channels: ['a', 'b'] }])
  w.client.unsubscribe('a')
  w.client.unsubscribe('b')
  w.client.subscribe('b')
  await settle()
  assert.deepEqual(w.socket.sent.slice(1), [{ type: 'unsubscribe', channels: ['a'] }])
})

test('a channel is subscribed once, and until the last holder leaves', async (t) => {
  const w = await connected(t)
  const heard: string[] = []
  const handler = (): void => { heard.push('shared') }
  const first = w.client.subscribe('a', handler)
  const second = w.client.subscribe('notifications:a', handler)
  await settle()
  assert.deepEqual(w.socket.sent, [{ type: 'subscribe', channels: ['a'] }])
  w.socket.notify('a', '1')
  first()
  first()
  await settle()
  w.socket.notify('a', '2')
  assert.equal(heard.length, 3, 'both, then one')
  assert.deepEqual([...w.client.channels], ['a'])
  second()
  await settle()
  assert.deepEqual(w.socket.sent.slice(1), [{ type: 'unsubscribe', channels: ['a'] }])
  assert.deepEqual([...w.client.channels], [])
})

test('unsubscribe() ends it for all holders, and leaves later ones alone', async (t) => {
  const w = await connected(t)
  const heard: string[] = []
  const stale = w.client.subscribe('a', () => heard.push('before'))
  w.client.unsubscribe('a')
  w.client.subscribe('a', () => heard.push('after'))
  stale()
  await settle()
  w.socket.notify('a', 'x')
  assert.deepEqual(heard, ['after'])
})

test('handlers hear their channel, and what comes late is not heard', async (t) => {
  const w = await connected(t)
  const heard: string[] = []
  w.client.subscribe('a', ({ channel }) => heard.push(channel))
  const off = w.client.subscribe('b', ({ channel }) => heard.push(channel))
  w.socket.notify('a', 'x')
  w.socket.notify('b', 'x')
  off()
  w.socket.notify('b', 'on its way')
  w.socket.notify('c', 'somebody else\'s')
  assert.deepEqual(heard, ['a', 'b'])
  assert.deepEqual(w.events.notification.map(({ channel }) => channel), ['a', 'b'])
})

test('a gap is told for each channel that was cut off, once it is heard again', async (t) => {
  const w = await connected(t)
  w.client.subscribe('old')
  await settle()
  w.socket.acknowledge()
  w.client.subscribe('never answered') // told, and that is all that the application knows
  w.client.subscribe('left')
  await settle()
  w.socket.say({ type: 'subscribed', channel: 'left', timestamp: 1 })
  w.socket.end()
  w.client.unsubscribe('left')
  await w.pass(500)
  w.client.subscribe('left')
  w.client.subscribe('new')
  w.socket.open()
  await settle()
  assert.deepEqual(w.events.gap, [], 'not before the subscription is in force: what comes now could still be missed')
  w.socket.acknowledge()
  assert.deepEqual(w.events.gap, ['old', 'never answered'].map((channel) => ({ type: 'gap', channel, reason: 'reconnected', timestamp: Date.now() })))
  w.socket.acknowledge()
  assert.equal(w.events.gap.length, 2, 'once for each connection')
})

test('a gap is not told of what was recovered', async (t) => {
  const w = await connected(t)
  w.client.subscribe('a')
  await settle()
  w.socket.acknowledge()
  w.socket.end()
  await w.pass(500)
  w.socket.open()
  w.socket.say({ type: 'subscribed', channel: 'a', recovered: true, timestamp: 1 })
  assert.deepEqual(w.events.gap, [])
})

test('a channel that leaves and comes back in one turn keeps its past', async (t) => {
  const w = await connected(t)
  const off = w.client.subscribe('a')
  await settle()
  w.socket.acknowledge()
  off()
  w.client.subscribe('a')
  await settle()
  assert.equal(w.socket.sent.length, 1)
  w.socket.end()
  await w.pass(500)
  w.socket.open()
  await settle()
  w.socket.acknowledge()
  assert.equal(w.events.gap.length, 1)
})

test('gaps of the gateway are handed on: of a channel that is held, and of all', async (t) => {
  const w = await connected(t)
  w.client.subscribe('a')
  const gaps = [
    { type: 'gap', reason: 'redis', timestamp: 1 },
    { type: 'gap', channel: 'a', reason: 'slow', dropped: 12, timestamp: 2 },
    { type: 'gap', channel: 'b', reason: 'overload', timestamp: 3 },
  ]
  for (const gap of gaps) w.socket.say(gap)
  assert.deepEqual(w.events.gap, gaps.slice(0, 2))
})

test('a refusal is told, and the channel asked for again on the next connection', async (t) => {
  const w = await connected(t)
  w.client.subscribe('secret')
  await settle()
  w.socket.say({ type: 'error', code: 'forbidden', message: 'no', channel: 'secret', timestamp: 1 })
  assert.deepEqual(w.events.error.map(({ code, channel }) => [code, channel]), [['forbidden', 'secret']])
  await w.pass(20_000)
  w.socket.end()
  await w.pass(500)
  w.socket.open()
  await settle()
  assert.deepEqual(w.socket.sent, [{ type: 'subscribe', channels: ['secret'] }], 'rights may be others now')
})

test('commands that come too soon are sent again, once, with what was not acknowledged', async (t) => {
  const w = await connected(t, { reconnectDelay: 1000 })
  const names = Array.from({ length: 250 }, (_, i) => `channel:${i}`)
  for (const name of names) w.client.subscribe(name)
  await settle()
  for (const channel of names.slice(0, 100)) w.socket.say({ type: 'subscribed', channel, timestamp: 1 })
  const tooSoon = { type: 'error', code: 'rate_limited', message: 'wait a second', timestamp: 1 } // as the gateway says it: without a name
  w.socket.say(tooSoon)
  w.socket.say(tooSoon)
  assert.equal(w.socket.sent.length, 3, 'not at once')
  await w.pass(1000)
  assert.deepEqual(w.socket.sent.slice(3).flatMap((command) => 'channels' in command ? command.channels : []), names.slice(100))
  for (const channel of names.slice(100)) w.socket.say({ type: 'subscribed', channel, timestamp: 1 })
  await w.pass(20_000)
  assert.equal(w.socket.sent.length, 5, 'nothing is left')
  w.socket.say(tooSoon)
  await w.pass(4000)
  assert.equal(w.socket.sent.length, 5)
  assert.deepEqual(w.events.gap, [])
})

test('what is subscribed survives close() and connect()', async (t) => {
  const w = await connected(t)
  w.client.subscribe('a')
  await settle()
  w.socket.acknowledge()
  w.client.close()
  w.client.connect()
  await settle()
  w.socket.open()
  await settle()
  w.socket.acknowledge()
  assert.deepEqual(w.socket.sent, [{ type: 'subscribe', channels: ['a'] }])
  assert.equal(w.events.gap.length, 1)
})
