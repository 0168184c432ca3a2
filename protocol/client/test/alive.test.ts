// Whether anybody is there: connections that are open at this end only, pages that sleep, networks that come and go.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connected, FakePage, settle, world } from './fakes.js'

const pings = (sent: { type: string }[]): number => sent.filter(({ type }) => type === 'ping').length

test('asks after a silence, and is content with any answer', async (t) => {
  const w = await connected(t)
  w.client.subscribe('a')
  await w.pass(24_999)
  assert.equal(pings(w.socket.sent), 0)
  await w.pass(1)
  assert.equal(pings(w.socket.sent), 1)
  await w.pass(4999)
  w.socket.notify('a', 'any message will do')
  await w.pass(24_999)
  assert.equal(pings(w.socket.sent), 1)
  await w.pass(1)
  assert.equal(pings(w.socket.sent), 2)
  assert.equal(w.client.state, 'connected')
})

test('does not ask where there is talk', async (t) => {
  const w = await connected(t)
  w.client.subscribe('a')
  for (let i = 0; i < 20; i++) {
    await w.pass(20_000)
    w.socket.notify('a', String(i))
  }
  assert.equal(pings(w.socket.sent), 0)
})

test('a gateway that does not answer is left', async (t) => {
  const w = await connected(t)
  await w.pass(25_000)
  await w.pass(4999)
  assert.equal(w.client.state, 'connected')
  await w.pass(1)
  assert.deepEqual([w.client.state, w.client.status.code, w.client.status.reason], ['waiting', 1006, 'silence'])
  assert.ok(w.socket.closed)
})

test('a heartbeat that the gateway promises is waited for instead', async (t) => {
  const w = await connected(t, { hello: { heartbeatMs: 60_000 }, pingTimeout: 5000 })
  await w.pass(64_999)
  assert.equal(pings(w.socket.sent), 0)
  await w.pass(1)
  assert.equal(pings(w.socket.sent), 1)
  await w.pass(5000)
  assert.equal(w.client.state, 'waiting')
})

test('pingInterval 0 or Infinity asks nothing', async (t) => {
  for (const pingInterval of [0, Infinity]) {
    await t.test(String(pingInterval), async (t) => {
      const w = await world(t, { pingInterval })
      const timers = t.mock.method(globalThis, 'setTimeout')
      w.socket.open()
      await w.pass(3_600_000)
      assert.equal(pings(w.socket.sent), 0)
      assert.equal(w.client.state, 'connected')
      for (const { arguments: [, ms] } of timers.mock.calls) assert.ok(Number(ms) < 2 ** 31, 'no timer overflows')
    })
  }
})

test('an answer that waits behind a late timer is not taken for silence', async (t) => {
  const w = await connected(t)
  await w.pass(25_000)
  w.sleep(15_000)
  await w.pass(5000) // the timer comes 15 s late, and no frame could be handed over meanwhile
  assert.equal(w.client.state, 'connected')
  assert.equal(pings(w.socket.sent), 2, 'asked once more')
  w.socket.say({ type: 'pong', timestamp: 1 })
  await w.pass(10_000)
  assert.equal(w.client.state, 'connected')
})

test('waking up dials at once, from 0', async (t) => {
  for (const type of ['online', 'pageshow', 'visibilitychange'] as const) {
    await t.test(type, async (t) => {
      const page = new FakePage(t)
      const w = await connected(t)
      for (let i = 0; i < 6; i++) {
        w.socket.end()
        await w.pass(i < 5 ? 60_000 : 0)
      }
      assert.equal(w.client.state, 'waiting')
      page.fire(type)
      await settle()
      assert.deepEqual([w.client.state, w.client.status.attempt], ['connecting', 0])
    })
  }
})

test('a page that is hidden, or a network that goes, is no reason to dial', async (t) => {
  const page = new FakePage(t)
  const w = await connected(t)
  w.socket.end()
  page.visibilityState = 'hidden'
  page.fire('visibilitychange')
  page.fire('offline')
  await settle()
  assert.equal(w.client.state, 'waiting')
  page.fire('online')
  await settle()
  assert.equal(w.client.state, 'connecting', 'the network is back, seen or not')
})

test('every event makes a live connection prove itself, once', async (t) => {
  const page = new FakePage(t)
  const w = await connected(t)
  for (const type of ['offline', 'online', 'pageshow', 'visibilitychange'] as const) page.fire(type)
  assert.equal(pings(w.socket.sent), 1)
  assert.equal(w.client.state, 'connected', 'an event proves nothing')
  w.socket.say({ type: 'pong', timestamp: 1 })
  page.fire('offline')
  assert.equal(pings(w.socket.sent), 2)
  await w.pass(5000)
  assert.equal(w.client.state, 'waiting')
})

test('after a sleep there is nobody left to ask', async (t) => {
  const page = new FakePage(t)
  const w = await connected(t)
  w.sleep(8 * 3_600_000)
  page.fire('visibilitychange')
  assert.equal(w.client.state, 'waiting')
  await w.pass(500)
  assert.equal(w.client.state, 'connecting')
})

test('listeners are there while the client is open, and only if wanted', async (t) => {
  const page = new FakePage(t)
  const w = await connected(t)
  w.client.reconnect()
  assert.equal(page.listeners, 4)
  w.client.close()
  assert.equal(page.listeners, 0)
  w.client.connect()
  assert.equal(page.listeners, 4)
  await settle()
  w.socket.end(4008)
  assert.equal(page.listeners, 0, 'closed for good by the gateway')
})

test('reconnectOnEvents: false leaves the page alone', async (t) => {
  const page = new FakePage(t)
  await world(t, { reconnectOnEvents: false })
  assert.equal(page.listeners, 0)
})
