// The client against the gateway itself: whatever a fake would hide.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { NotificationClient, type ClientEvents, type ClientOptions, type ServerMessage, type WebSocketConstructor } from '../../src/index.js'
import { eventually, Gateway, Redis } from '../harness/gateway.js'

type Events = { [K in keyof ClientEvents<string>]: ClientEvents<string>[K][] }

interface Talk { client: NotificationClient; events: Events; frames: ServerMessage[] }

/** A client that comes back soon, everything that it tells, and everything that it was sent. */
function talk(t: TestContext, url: string, options: ClientOptions = {}): Talk {
  const frames: ServerMessage[] = []
  class Tapped extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols)
      this.addEventListener('message', ({ data }) => frames.push(JSON.parse(data as string) as ServerMessage))
    }
  }
  const client = new NotificationClient(url, { autoConnect: true, reconnectDelay: 20, WebSocket: Tapped as WebSocketConstructor, ...options })
  t.after(() => client.close())
  const events: Events = { connected: [], authenticated: [], subscribed: [], unsubscribed: [], notification: [], gap: [], error: [], state: [] }
  const keep = <K extends keyof Events>(name: K): void => { client.on(name, (event) => { events[name].push(event) }) }
  for (const name of Object.keys(events) as (keyof Events)[]) keep(name)
  return { client, events, frames }
}

async function subscribe({ client, events }: Talk, ...channels: string[]): Promise<void> {
  const before = events.subscribed.length
  for (const channel of channels) client.subscribe(channel)
  await eventually('the subscriptions are acknowledged', () => events.subscribed.length >= before + channels.length)
}

test('the article\'s client, as it is written there, hears what is published', async (t) => {
  const gateway = await Gateway.start(t)
  const client = new NotificationClient(gateway.url, { autoConnect: true }) // there is no window in Node
  t.after(() => client.close())
  const heard: { channel: string; data: string; timestamp: number }[] = []
  client.subscribe('user:123')
  const unsubscribe = client.on('notification', (notification) => heard.push(notification))
  await new Promise<void>((resolve) => client.on('subscribed', () => resolve()))
  await gateway.publish('user:123', '{"title":"hi"}')
  await eventually('it is heard', () => heard.length > 0)
  const [first] = heard
  assert.deepEqual([first?.channel, first?.data], ['user:123', '{"title":"hi"}'])
  assert.ok(Math.abs(Date.now() - (first?.timestamp ?? 0)) < 60_000)
  unsubscribe()
})

test('every message that the gateway sends has the shape of a golden', async (t) => {
  const redis = await Redis.start(t)
  const gateway = await Gateway.start(t, { redis })
  const it = talk(t, gateway.url, { pingInterval: 50 })
  await subscribe(it, 'a')
  it.client.subscribe('')
  it.client.unsubscribe('a')
  await eventually('all is answered', () => it.events.unsubscribed.length > 0 && it.events.error.length > 0)
  await subscribe(it, 'a')
  await gateway.publish('a', 'x')
  await redis.signal('SIGKILL')
  await gateway.ready200(503)
  await redis.start()
  await eventually('everything was said', () => new Set(it.frames.map(({ type }) => type)).size === 7)

  const shape = (message: object): string => Object.keys(message).sort().join()
  const goldens = JSON.parse(readFileSync(new URL('../../../testdata/messages.json', import.meta.url), 'utf8')) as { message: ServerMessage }[]
  const known = new Set(goldens.map(({ message }) => `${message.type}: ${shape(message)}`))
  for (const frame of it.frames) assert.ok(known.has(`${frame.type}: ${shape(frame)}`), JSON.stringify(frame))
  assert.deepEqual(it.events.error.map(({ code }) => code), ['bad_channel'])
})

test('names and payloads arrive as they are', async (t) => {
  const gateway = await Gateway.start(t)
  const it = talk(t, gateway.url)
  const names = ['user:42', 'café 🔔', '*', '"quoted\\"', 'x'.repeat(255), '€'.repeat(85)]
  await subscribe(it, ...names, 'notifications:long:form')
  assert.deepEqual(it.events.subscribed.map(({ channel }) => channel).sort(), [...names, 'long:form'].sort())
  const payloads = ['', 'plain', '{"title":"hi \\"you\\""}', 'line\nbreak\u2028\u0000', '🔔'.repeat(1000), '</script>']
  for (const data of payloads) await gateway.publish('café 🔔', data)
  await gateway.publish('user:42', new Uint8Array([0x61, 0xff, 0x62]))
  await eventually('all came', () => it.events.notification.length === payloads.length + 1)
  assert.deepEqual(it.events.notification.map(({ data }) => data), [...payloads, 'a\ufffdb'])
})

test('what may not be subscribed is refused by name, and nothing else suffers', async (t) => {
  const gateway = await Gateway.start(t, { flags: ['-max-channels', '3'] })
  const it = talk(t, gateway.url)
  const long = 'x'.repeat(256)
  await it.client.ready()
  for (const channel of ['a', long, 'b\u0007', 'notifications:notifications:x']) {
    it.client.subscribe(channel)
    await new Promise((resolve) => setImmediate(resolve)) // each in a command of its own
  }
  await subscribe(it, 'c', 'half \ud83d')
  await eventually('three are refused', () => it.events.error.length === 3)
  assert.deepEqual(it.events.error.map(({ code }) => code), ['bad_channel', 'bad_channel', 'bad_channel'])
  assert.deepEqual(it.events.error.map(({ channel }) => channel), [long.slice(1), 'b\u0007', 'notifications:notifications:x'])
  it.client.subscribe('one too many')
  await eventually('the limit is told', () => it.events.error.length === 4)
  assert.deepEqual([it.events.error[3]?.code, it.events.error[3]?.channel], ['too_many_channels', 'one too many'])
  await gateway.publish('c', 'still heard')
  await eventually('it is heard', () => it.events.notification.length === 1)
})

test('more commands than the gateway takes at once are all carried out in the end', async (t) => {
  const gateway = await Gateway.start(t, { flags: ['-max-message-burst', '200', '-max-message-rate', '100', '-max-channels', '200'] })
  const it = talk(t, gateway.url, { reconnectDelay: 500 })
  const channels = Array.from({ length: 120 }, (_, i) => `channel:${i}`)
  await subscribe(it, ...channels)
  for (const channel of channels) it.client.unsubscribe(channel)
  await new Promise((resolve) => setImmediate(resolve)) // else nothing has changed
  for (const channel of channels) it.client.subscribe(channel)
  await eventually('all are acknowledged again', () => it.events.subscribed.length === 2 * channels.length)
  assert.equal((await gateway.stats()).subscriptions, channels.length)
  assert.ok(it.events.error.length > 0)
  assert.deepEqual(new Set(it.events.error.map(({ code }) => code)), new Set(['rate_limited']))
})

test('a gateway that is killed and comes back finds its clients, all channels and the gap', async (t) => {
  const gateway = await Gateway.start(t)
  const it = talk(t, gateway.url)
  const channels = Array.from({ length: 250 }, (_, i) => `channel:${i}`)
  await subscribe(it, ...channels)
  await gateway.signal('SIGKILL')
  await eventually('the loss is noticed', () => it.client.state !== 'connected')
  await gateway.start()
  await eventually('every channel had its gap', () => it.events.gap.length === channels.length)
  assert.deepEqual(new Set(it.events.gap.map(({ channel }) => channel)), new Set(channels))
  assert.deepEqual(it.events.connected.map(({ reconnected }) => reconnected), [false, true])
  await eventually('the gateway counts them', async () => (await gateway.stats()).subscriptions === channels.length)
  await gateway.publish('channel:249', 'back')
  await eventually('it is heard', () => it.events.notification.length === 1)
})

test('a gateway and a Redis that come back find their ports, whatever another program takes meanwhile', async (t) => {
  const redis = await Redis.start(t)
  const gateway = await Gateway.start(t, { redis })
  const [url, admin] = [gateway.url, gateway.admin]
  await gateway.signal('SIGKILL')
  await redis.signal('SIGKILL')
  for (const address of [url, admin, redis.url]) {
    const other = createServer()
    t.after(() => other.close())
    await new Promise<void>((resolve, reject) => {
      other.once('error', (error: NodeJS.ErrnoException) => error.code === 'EADDRINUSE' ? resolve() : reject(error)) // by yet another program
      other.listen(Number(/:(\d+)/.exec(address)?.[1]), '127.0.0.1', () => resolve())
    })
  }
  await redis.start()
  await gateway.start()
  assert.deepEqual([gateway.url, gateway.admin], [url, admin])
  const it = talk(t, url)
  await subscribe(it, 'a')
  await gateway.publish('a', 'back')
  await eventually('it is heard', () => it.events.notification.length === 1)
})

test('a gateway that drains says when to return, and is obeyed', async (t) => {
  const gateway = await Gateway.start(t, { flags: ['-drain', '2s'] })
  const clients = Array.from({ length: 20 }, () => talk(t, gateway.url, { reconnectDelay: 1 }))
  await Promise.all(clients.map((it) => subscribe(it, 'a')))
  await gateway.signal('SIGTERM')
  const ends = clients.map(({ events }) => events.state.find(({ previous }) => previous === 'connected'))
  const told = ends.map((end) => Number(/^retry=(\d+)$/.exec(end?.reason ?? '')?.[1]))
  assert.deepEqual(ends.map((end) => end?.code), clients.map(() => 1012))
  assert.ok(new Set(told).size > 10, `each is told a time of its own: ${told}`)
  assert.ok(told.every((ms) => ms >= 0 && ms <= 10_000))
  await gateway.start()
  await eventually('all are back', () => clients.every(({ client }) => client.state === 'connected'))
  for (const [i, { events }] of clients.entries()) {
    const end = events.state.findIndex(({ previous }) => previous === 'connected')
    const next = events.state[end + 1]
    assert.equal(next?.state, 'connecting', 'obeyed, not preempted')
    assert.equal(events.state[end]?.attempt, 1)
    assert.ok(Number.isFinite(told[i]))
  }
})

test('Redis that goes and comes back leaves the connection, and a gap', async (t) => {
  const redis = await Redis.start(t)
  const gateway = await Gateway.start(t, { redis })
  const it = talk(t, gateway.url)
  await subscribe(it, 'a')
  await redis.signal('SIGKILL')
  await gateway.ready200(503)
  await redis.start()
  await eventually('the gap is told', () => it.events.gap.length > 0)
  assert.equal(it.events.gap[0]?.reason, 'redis')
  await gateway.ready200()
  await gateway.publish('a', 'back')
  await eventually('it is heard', () => it.events.notification.length === 1)
  assert.equal(it.events.connected.length, 1)
})

test('a gateway that hangs is left, and found again', async (t) => {
  const gateway = await Gateway.start(t)
  const it = talk(t, gateway.url, { pingInterval: 100, pingTimeout: 300, connectTimeout: 500 })
  await subscribe(it, 'a')
  await eventually('it is asked and answers', () => it.frames.filter(({ type }) => type === 'pong').length >= 3)
  await gateway.signal('SIGSTOP')
  await eventually('the silence is noticed', () => it.events.state.some(({ reason }) => reason === 'silence'))
  await gateway.signal('SIGCONT')
  await eventually('it is back', () => it.events.gap.length > 0)
  assert.equal(it.client.state, 'connected')
})

test('a full gateway is knocked at until there is room', async (t) => {
  const gateway = await Gateway.start(t, { flags: ['-max-connections', '1'] })
  const first = talk(t, gateway.url)
  await first.client.ready()
  const second = talk(t, gateway.url, { maxReconnectDelay: 50 })
  await eventually('it is refused', () => second.client.status.attempt > 2)
  first.client.close()
  await second.client.ready()
})

test('a burst arrives whole and in order', async (t) => {
  const redis = await Redis.start(t)
  const gateway = await Gateway.start(t, { redis })
  const it = talk(t, gateway.url)
  await subscribe(it, 'a')
  const count = 5000
  const { connect } = await import('node:net')
  const socket = connect(redis.port, redis.ip)
  t.after(() => socket.destroy())
  socket.write(Array.from({ length: count }, (_, i) => `PUBLISH notifications:a ${i}\r\n`).join(''))
  await eventually('all came', () => it.events.notification.length === count)
  assert.deepEqual(it.events.notification.map(({ data }) => Number(data)), Array.from({ length: count }, (_, i) => i))
  assert.deepEqual(it.events.gap, [])
})

test('tokens: a good one is taken and refreshed in band, an expired one asked for again, a bad one final', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'carillon-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const key = join(dir, 'jwt.key')
  writeFileSync(key, 'k'.repeat(32))
  const gateway = await Gateway.start(t, { flags: ['-jwt-secret', key] })
  const mint = (ttl: string): string => gateway.run('token', '-key', key, '-sub', 'ann', '-channels', 'user:{sub},news', '-ttl', ttl).trim()

  // A token that ends soon: the client brings another before, and stays connected.
  let asked = 0
  const it = talk(t, gateway.url, { token: () => mint(asked++ ? '1h' : '4s') })
  await subscribe(it, 'news', 'user:ann')
  assert.equal(it.events.connected[0]?.userId, 'ann')
  it.client.subscribe('user:bob')
  await eventually('another\'s channel is refused', () => it.events.error.some(({ code, channel }) => code === 'forbidden' && channel === 'user:bob'))
  await eventually('a new token was taken in band', () => it.events.authenticated.length === 1)
  assert.equal(it.events.connected.length, 1)

  // One that has expired already: asked for again, until it is good.
  let tries = 0
  const late = talk(t, gateway.url, { token: () => (tries++ ? mint('1h') : expired) })
  await eventually('the second token is taken', () => late.events.connected.length === 1)
  assert.equal(tries, 2)

  // One that never was any good.
  const bad = talk(t, gateway.url, { token: 'x.y.z' })
  await eventually('it gives up', () => bad.client.state === 'closed')
  assert.equal(bad.events.connected.length, 0)
})

/** A token of 2023 for the key of 32 times k. */
const expired = ((): string => {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'ann', exp: 1_700_000_000 })}`
  return `${text}.${createHmac('sha256', 'k'.repeat(32)).update(text).digest('base64url')}`
})()
