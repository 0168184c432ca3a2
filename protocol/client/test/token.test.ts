import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UnauthorizedError, type TokenContext } from '../src/index.js'
import { connected, settle, world } from './fakes.js'

test('a token travels as a sub-protocol, in no URL', async (t) => {
  const w = await world(t, { token: 'a.b-c.d_e' })
  assert.deepEqual(w.socket.protocols, ['carillon.v1', 'bearer.a.b-c.d_e'])
  assert.equal(w.socket.url, 'ws://gateway/ws')
})

test('a token function is asked for every connection', async (t) => {
  let n = 0
  const w = await world(t, { token: async ({ reason }) => `${reason}-${++n}` })
  w.socket.open()
  w.socket.end(4103, 'token expired')
  await w.pass(500)
  assert.deepEqual(w.sockets.map(({ protocols }) => protocols[1]), ['bearer.connect-1', 'bearer.connect-2'])
})

test('a token function that fails is asked again, after the backoff', async (t) => {
  let n = 0
  const w = await world(t, { token: () => { if (++n < 3) throw new Error('502'); return 'good' } })
  assert.equal(w.client.state, 'waiting')
  await w.pass(500)
  await w.pass(1000)
  assert.deepEqual(w.events.error.slice(-1).map(({ code, message }) => [code, message]), [['no_token', 'Error: 502']])
  assert.deepEqual(w.sockets.map(({ protocols }) => protocols[1]), ['bearer.good'])
})

test('nobody signed in ends the client', async (t) => {
  const w = await world(t, { token: () => Promise.reject(new UnauthorizedError('signed out')) })
  assert.deepEqual(w.client.status, { state: 'closed', attempt: 0, code: 4001, reason: 'signed out' })
  assert.deepEqual(w.events.error.map(({ code }) => code), ['unauthorized'])
  await w.pass(600_000)
  assert.equal(w.sockets.length, 0)
})

test('a token that the gateway refuses is told, and not tried again', async (t) => {
  const w = await world(t, { token: 'forged' })
  w.socket.end(4001, 'bad signature')
  assert.deepEqual(w.events.error.map(({ code, message }) => [code, message]), [['unauthorized', 'UnauthorizedError: bad signature']])
  await w.pass(600_000)
  assert.equal(w.sockets.length, 1)
})

test('the next token is sent while the old one is good, by its life and not by the clock', async (t) => {
  const asked: TokenContext['reason'][] = []
  const token = ({ reason }: TokenContext): string => `${asked.push(reason)}`
  const far = 5_000_000_000 // the gateway's clock is months off
  const w = await connected(t, { pingInterval: 0, token, hello: { timestamp: far, expiresAt: far + 600_000 } })
  await w.pass(554_999) // 600 s less 3/4 of a minute
  assert.deepEqual(asked, ['connect'])
  await w.pass(1)
  assert.deepEqual(w.socket.sent.filter(({ type }) => type === 'auth'), [{ type: 'auth', token: '2' }])
  w.socket.say({ type: 'authenticated', timestamp: far + 555_000, expiresAt: far + 1_155_000 })
  assert.equal(w.events.authenticated.length, 1)
  await w.pass(555_000)
  assert.deepEqual(asked, ['connect', 'refresh', 'refresh'])
})

test('another tab that refreshed first is enough', async (t) => {
  let asked = 0
  const w = await connected(t, { pingInterval: 0, token: () => `${++asked}`, hello: { timestamp: 0, expiresAt: 600_000 } })
  await w.pass(500_000)
  w.socket.say({ type: 'authenticated', timestamp: 500_000, expiresAt: 1_100_000 })
  await w.pass(100_000)
  assert.equal(asked, 1)
  await w.pass(455_000)
  assert.equal(asked, 2)
})

test('a refresh that fails leaves the connection, one that is final ends it', async (t) => {
  const failures = [new Error('502'), new UnauthorizedError('signed out')]
  let n = 0
  const token = ({ reason }: TokenContext): string => {
    if (reason === 'refresh') throw failures[n++]
    return 't'
  }
  const w = await connected(t, { pingInterval: 0, token, hello: { timestamp: 0, expiresAt: 60_000 } })
  await w.pass(60_000)
  assert.deepEqual([w.client.state, w.events.error.at(-1)?.code], ['connected', 'no_token'])
  w.socket.say({ type: 'authenticated', timestamp: 0, expiresAt: 61_000 })
  await w.pass(61_000)
  assert.deepEqual([w.client.state, w.events.error.at(-1)?.code], ['closed', 'unauthorized'])
})

test('a fixed token is not sent twice, and one that lives for years is no busy loop', async (t) => {
  const fixed = await connected(t, { pingInterval: 0, token: 'fixed', hello: { timestamp: 0, expiresAt: 60_000 } })
  await fixed.pass(60_000)
  assert.deepEqual(fixed.socket.sent.filter(({ type }) => type === 'auth'), [])
  t.mock.restoreAll()
  t.mock.timers.reset()
  let asked = 0
  const old = await connected(t, { pingInterval: 0, token: () => `${++asked}`, hello: { timestamp: 0, expiresAt: 1e14 } })
  await old.pass(1000)
  assert.equal(asked, 1)
})

test('a token that arrives after the connection ended is not sent', async (t) => {
  let answer = (_: string): void => {}
  const token = ({ reason }: TokenContext): string | Promise<string> =>
    reason === 'connect' ? 't' : new Promise((resolve) => { answer = resolve })
  const w = await connected(t, { pingInterval: 0, token, hello: { timestamp: 0, expiresAt: 60_000 } })
  await w.pass(59_000)
  const [first] = w.sockets
  first?.end(1012, 'retry=0')
  answer('late')
  await settle()
  assert.deepEqual(first?.sent.filter(({ type }) => type === 'auth'), [])
})

test('a new token that the gateway cannot judge yet is asked for and sent again, until one is taken', async (t) => {
  let asked = 0
  const w = await connected(t, { pingInterval: 0, token: () => `${++asked}`, hello: { timestamp: 0, expiresAt: 600_000 } })
  const sent = (): unknown[] => w.socket.sent.flatMap((command) => command.type === 'auth' ? [command.token] : [])
  await w.pass(555_000)
  assert.deepEqual(sent(), ['2'])
  w.socket.say({ type: 'error', code: 'internal', message: 'try again soon', timestamp: 0 })
  await w.pass(12_000)
  assert.deepEqual(sent(), ['2', '3'])
  w.socket.say({ type: 'error', code: 'rate_limited', message: 'too many messages', timestamp: 0 })
  await w.pass(12_000)
  assert.deepEqual(sent(), ['2', '3', '4'])
  w.socket.say({ type: 'authenticated', timestamp: 579_000, expiresAt: 1_200_000 })
  await w.pass(60_000)
  assert.deepEqual(sent(), ['2', '3', '4'])
  assert.equal(w.sockets.length, 1)
})
