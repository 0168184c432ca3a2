// Nothing that comes in, and nothing that an application does with it, breaks the client.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UnauthorizedError } from '../src/index.js'
import { connected, settle, world } from './fakes.js'

test('a bad frame is told, and the next one is heard', async (t) => {
  const w = await connected(t)
  w.client.subscribe('a')
  const frames = [
    'nonsense', '', 'null', '7', '"text"', '[]', '{}', '{"type":7}', '{"type":"notification","channel":"a"}',
    '{"type":"notification","channel":"a","data":{"not":"a string"}}', new Uint8Array([1]), undefined,
  ]
  for (const frame of frames) w.socket.frame(frame)
  assert.deepEqual(w.events.error.map(({ code }) => code), frames.map(() => 'bad_message'))
  w.socket.notify('a', 'fine')
  assert.deepEqual(w.events.notification.map(({ data }) => data), ['fine'])
  assert.equal(w.client.state, 'connected')
})

test('types and members that are not known are passed over', async (t) => {
  const w = await connected(t)
  w.client.subscribe('a')
  w.socket.say({ type: 'presence', channel: 'a', timestamp: 1 })
  w.socket.say({ type: 'constructor' })
  w.socket.say({ type: 'notification', channel: 'a', data: 'x', timestamp: 1, later: true })
  assert.deepEqual(w.events.error, [])
  assert.equal(w.events.notification.length, 1)
})

test('a handler that throws stops nobody, and is not hushed up', async (t) => {
  const w = await connected(t)
  const uncaught: unknown[] = []
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', (error) => uncaught.push(error))
  const heard: string[] = []
  const bug = new Error('bug')
  w.client.subscribe('a', () => { throw bug })
  w.client.subscribe('a', () => heard.push('second holder'))
  w.client.on('notification', () => { throw bug })
  w.client.on('notification', () => heard.push('second handler'))
  w.socket.notify('a', 'x')
  await settle()
  w.socket.notify('a', 'y')
  await settle()
  assert.deepEqual(heard, ['second holder', 'second handler', 'second holder', 'second handler'])
  assert.deepEqual(uncaught, [bug, bug, bug, bug])
})

test('payloads are parsed, and one that cannot be is told', async (t) => {
  interface Note { title: string }
  const parse = (data: string, channel: string): Note => {
    assert.equal(channel, 'a')
    return JSON.parse(data) as Note
  }
  const w = await connected<Note>(t, { parse })
  const titles: string[] = []
  w.client.subscribe('a', ({ data }) => titles.push(data.title))
  w.socket.notify('a', '{"title":"hi"}')
  w.socket.notify('a', 'plain')
  w.socket.notify('a', '{"title":"ho"}')
  assert.deepEqual(titles, ['hi', 'ho'])
  assert.deepEqual(w.events.error.map(({ code, channel, cause }) => [code, channel, cause instanceof SyntaxError]), [['bad_data', 'a', true]])
})

test('handlers may come, go and end everything while an event is handed round', async (t) => {
  const w = await connected(t)
  const heard: string[] = []
  const off = w.client.on('notification', () => {
    off()
    heard.push('once')
    w.client.on('notification', () => heard.push('from the next on'))
  })
  w.client.subscribe('a')
  w.socket.notify('a', '1')
  w.socket.notify('a', '2')
  assert.deepEqual(heard, ['once', 'from the next on'])
  w.client.on('notification', () => w.client.close())
  w.socket.notify('a', '3')
  assert.equal(w.client.state, 'closed')
})

test('the same function on twice is called twice, and goes once', async (t) => {
  const w = await connected(t)
  let calls = 0
  const handler = (): void => { calls++ }
  const off = w.client.on('gap', handler)
  w.client.on('gap', handler)
  w.socket.say({ type: 'gap', reason: 'redis', timestamp: 1 })
  off()
  w.socket.say({ type: 'gap', reason: 'redis', timestamp: 2 })
  assert.equal(calls, 3)
})

test('what a handler does about an error is the last word', async (t) => {
  const hindrances: Record<string, Parameters<typeof world>[1]> = {
    'no token': { token: () => { throw new Error('502') } },
    'no address': { url: () => { throw new Error('no address') } },
    'nobody signed in': { token: () => { throw new UnauthorizedError('signed out') } },
    'a token that is refused': {},
  }
  for (const [what, options] of Object.entries(hindrances)) {
    for (const [does, states] of [['close', ['connecting', 'closed']], ['reconnect', ['connecting', 'closed', 'connecting']]] as const) {
      await t.test(`${what}: ${does}()`, async (t) => {
        const w = await world(t, { autoConnect: false, ...options })
        const off = w.client.on('error', () => {
          off()
          w.client[does]()
        })
        w.client.connect()
        await settle()
        if (w.sockets.length) w.socket.end(4001, 'bad signature')
        const seen = w.events.state.map(({ state }) => state === 'waiting' ? 'closed' : state)
        assert.deepEqual(seen.slice(0, states.length), states)
        await w.pass(600_000)
        if (does === 'close') assert.equal(w.client.state, 'closed')
      })
    }
  }
})

test('who closes the client on hearing that it is connected hears no more', async (t) => {
  const w = await world(t)
  w.client.on('state', ({ state }) => { if (state === 'connected') w.client.close() })
  w.client.subscribe('a')
  w.socket.open()
  await settle()
  assert.deepEqual([w.client.state, w.events.connected, w.socket.sent], ['closed', [], []])
})
