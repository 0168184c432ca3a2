// The life of the connection: dialling, losing, waiting, coming back, ending.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NotificationClient } from '../src/index.js'
import { connected, settle, world } from './fakes.js'

test('dials, offers the version of the wire, and is connected at the first message', async (t) => {
  const { client, socket, events } = await world(t)
  assert.deepEqual([socket.url, socket.protocols], ['ws://gateway/ws', ['carillon.v1']])
  assert.equal(client.state, 'connecting')
  socket.open({ userId: '42' })
  assert.deepEqual(events.connected, [{ type: 'connected', clientId: 'c-1', userId: '42', timestamp: Date.now(), reconnected: false }])
  assert.deepEqual(client.status, { state: 'connected', attempt: 0, clientId: 'c-1' })
})

test('does nothing of itself where there is no page', async () => {
  const client = new NotificationClient('ws://gateway/ws')
  await settle()
  assert.equal(client.state, 'idle')
})

test('comes back after a loss, for ever, with growing waits', async (t) => {
  const w = await connected(t, { maxReconnectDelay: 4000 })
  const waits = []
  for (let i = 0; i < 8; i++) {
    w.socket.end()
    assert.equal(w.client.state, 'waiting')
    const wait = (w.client.status.retryAt ?? 0) - Date.now()
    waits.push(wait)
    await w.pass(wait - 1)
    assert.equal(w.client.state, 'waiting', 'not before its time')
    await w.pass(1)
    assert.equal(w.client.state, 'connecting')
  }
  assert.deepEqual(waits, [500, 1000, 2000, 2000, 2000, 2000, 2000, 2000])
  w.socket.open()
  assert.equal(w.client.state, 'connected')
  assert.deepEqual(w.events.connected.map(({ reconnected }) => reconnected), [false, true])
})

test('counts the attempts from 0 only after a connection that lasted', async (t) => {
  const w = await connected(t, { stableAfter: 5000 })
  const wait = (): number => (w.client.status.retryAt ?? 0) - Date.now()
  w.socket.end()
  assert.equal(wait(), 500)
  await w.pass(500)
  w.socket.open()
  await w.pass(4999)
  w.socket.end()
  assert.equal(wait(), 1000, 'accepted and lost is no success')
  await w.pass(1000)
  w.socket.open()
  await w.pass(5000)
  w.socket.end()
  assert.equal(wait(), 500, 'lasted')
})

test('gives up after maxReconnectAttempts, and connect() brings it back', async (t) => {
  const w = await world(t, { maxReconnectAttempts: 2 })
  for (let i = 0; i < 2; i++) {
    w.socket.end()
    await w.pass(60_000)
  }
  w.socket.end()
  assert.deepEqual(w.client.status, { state: 'closed', attempt: 3, code: 1006, reason: 'gave up' })
  await w.pass(600_000)
  assert.equal(w.sockets.length, 3)
  w.client.connect()
  await settle()
  w.socket.open()
  assert.deepEqual(w.client.status, { state: 'connected', attempt: 0, clientId: 'c-1' })
})

test('does what the close code says', async (t) => {
  for (const [code, reason, state, wait] of [
    [1000, '', 'closed', undefined],
    [4001, 'expired', 'closed', undefined],
    [4008, '', 'closed', undefined],
    [1001, '', 'waiting', 500],
    [1006, '', 'waiting', 500],
    [4100, '', 'waiting', 500],
    [1012, 'retry=7300', 'waiting', 7300],
    [1013, 'retry=2100', 'waiting', 2100],
    [1012, '', 'waiting', 500],
    [1001, 'retry=9', 'waiting', 500],
    [4200, '', 'waiting', 0],
    [1012, 'retry=99999999999999', 'waiting', 99999999999999],
  ] as const) {
    await t.test(`${code} ${reason}`, async (t) => {
      const w = await connected(t)
      w.socket.end(code, reason)
      const { retryAt, ...status } = w.client.status
      assert.deepEqual({ ...status, wait: retryAt && retryAt - Date.now() }, { state, attempt: w.client.status.attempt, code, reason, wait })
      await w.pass(Math.min(wait ?? 0, 10_000))
      assert.equal(w.sockets.length, wait === undefined || wait > 10_000 ? 1 : 2, 'no timer overflows')
    })
  }
})

test('the table can be overruled', async (t) => {
  const w = await connected(t, { comeback: (code) => code === 4008 ? 'now' : 'never' })
  w.socket.end(4008)
  await w.pass(0)
  assert.equal(w.sockets.length, 2)
  w.socket.end(1006)
  assert.equal(w.client.state, 'closed')
})

test('an option that is undefined is as good as not given', async (t) => {
  const names = ['reconnectDelay', 'maxReconnectDelay', 'maxReconnectAttempts', 'stableAfter', 'connectTimeout', 'pingInterval', 'pingTimeout', 'comeback', 'reconnectOnEvents', 'token', 'parse']
  const w = await connected(t, Object.fromEntries(names.map((name) => [name, undefined])))
  w.socket.end()
  assert.deepEqual(w.client.status, { state: 'waiting', attempt: 1, retryAt: Date.now() + 500, code: 1006, reason: '' })
})

test('an attempt that hangs is given up in time', async (t) => {
  const w = await world(t, { connectTimeout: 10_000 })
  w.socket.readyState = 1 // accepted, but not a word
  await w.pass(9999)
  assert.equal(w.client.state, 'connecting')
  await w.pass(1)
  assert.deepEqual([w.client.state, w.client.status.reason], ['waiting', 'timeout'])
  assert.ok(w.socket.closed)
  await w.pass(500)
  assert.equal(w.sockets.length, 2)
})

test('an error is an end, whether or not a close follows', async (t) => {
  const w = await connected(t)
  const { socket } = w
  socket.onerror?.({})
  socket.end(1006)
  assert.deepEqual(w.client.status, { state: 'waiting', attempt: 1, retryAt: Date.now() + 500, code: 1006, reason: '' })
})

test('the address can be worked out anew for each connection', async (t) => {
  let n = 0
  const w = await world(t, { url: async () => { if (++n === 2) throw new Error('no address'); return `ws://gateway-${n}/ws` } })
  w.socket.end()
  await w.pass(500)
  assert.deepEqual(w.events.error.map(({ code, message }) => [code, message]), [['bad_url', 'Error: no address']])
  await w.pass(1000)
  assert.deepEqual(w.sockets.map(({ url }) => url), ['ws://gateway-1/ws', 'ws://gateway-3/ws'])
})

test('what the socket refuses to dial ends the client, and says why', async (t) => {
  const w = await world(t, { WebSocket: class { constructor() { throw new SyntaxError('no URL') } } as never })
  assert.deepEqual(w.events.error.map(({ code, message }) => [code, message]), [['no_socket', 'SyntaxError: no URL']])
  assert.equal(w.client.state, 'closed')
})

test('close() leaves nothing behind, whatever the state', async (t) => {
  for (const state of ['connecting', 'connected', 'waiting', 'probing'] as const) {
    await t.test(state, async (t) => {
      const w = await world(t)
      if (state !== 'connecting') w.socket.open()
      if (state === 'waiting') w.socket.end()
      if (state === 'probing') await w.pass(25_000)
      const { socket } = w
      const timers: unknown[] = []
      w.client.close()
      t.mock.method(globalThis, 'setTimeout', (...args: unknown[]) => timers.push(args))
      assert.equal(socket.readyState, 3)
      if (state !== 'waiting') assert.deepEqual(socket.closed, { code: 1000 })
      await w.pass(3_600_000)
      assert.equal(w.sockets.length, 1)
      assert.deepEqual(timers, [])
      const seen = w.events.state.length
      socket.notify('user:1', 'late')
      socket.end()
      assert.equal(w.events.state.length, seen, 'a socket that was let go is not heard')
      assert.deepEqual(w.client.status, { state: 'closed', attempt: w.client.status.attempt, code: 1000, reason: 'closed' })
      w.client.close()
      assert.equal(w.events.state.length, seen, 'closing twice is closing once')
    })
  }
})

test('close() while the token is fetched dials nothing', async (t) => {
  let answer = (_token: string): void => {}
  let aborted = false
  const w = await world(t, {
    token: ({ signal }) => new Promise((resolve) => {
      answer = resolve
      signal.addEventListener('abort', () => { aborted = true })
    }),
  })
  w.client.close()
  assert.ok(aborted)
  answer('too late')
  await settle()
  assert.equal(w.sockets.length, 0)
})

test('close() while the address is worked out asks for no token', async (t) => {
  let answer = (_url: string): void => {}
  let asked = 0
  const w = await world(t, { url: () => new Promise((resolve) => { answer = resolve }), token: () => `${++asked}` })
  w.client.close()
  answer('ws://too-late/ws')
  await settle()
  assert.deepEqual([asked, w.sockets.length], [0, 0])
})

test('reconnect() starts anew at once', async (t) => {
  const w = await connected(t)
  const [first] = w.sockets
  w.client.reconnect()
  await settle()
  assert.equal(first?.readyState, 3)
  assert.equal(w.sockets.length, 2)
  assert.deepEqual(w.events.state.map(({ state }) => state), ['connected', 'connecting'])
})

test('ready() resolves when connected, and rejects when closed', async (t) => {
  const w = await world(t)
  const ready = w.client.ready()
  w.socket.open()
  await ready
  await w.client.ready()
  w.socket.end(4001, 'expired')
  await assert.rejects(w.client.ready(), /expired/)
  w.client.connect()
  const again = w.client.ready()
  w.client.close()
  await assert.rejects(again, /closed/)
})

test('states come with where they come from', async (t) => {
  const w = await connected(t)
  w.socket.end(1012, 'retry=40')
  assert.deepEqual(w.events.state.at(-1), {
    previous: 'connected', state: 'waiting', attempt: 1, retryAt: Date.now() + 40, code: 1012, reason: 'retry=40',
  })
})
