// What the tab that leads does for the others. The tabs themselves are tested in a browser.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Hub } from '../src/Hub.js'
import type { Command, ServerMessage } from '../src/messages.js'
import { sharedSocket, type Note } from '../src/tabs.js'
import { epoch, FakeSocket } from './fakes.js'

type Said = ServerMessage & { to?: string }

/** A hub of tab `a`, whose upstream is a fake, with tab `b` as a member. */
function lead(): { hub: Hub; socket: FakeSocket; notes: Note[]; die: (member: string) => void; said: () => Said[] } {
  const socket = new FakeSocket('ws://gateway/ws', [])
  const notes: Note[] = []
  const deaths = new Map<string, () => void>()
  const hub = new Hub(socket, 'a', { post: (note) => { notes.push(note) }, gone: (member, then) => { deaths.set(member, then) } })
  hub.hear({ kind: 'hello', from: 'b' })
  const said = (): Said[] => notes.flatMap((note) => note.kind === 'say' ? [{ ...JSON.parse(note.data) as ServerMessage, ...(note.to && { to: note.to }) }] : [])
  return { hub, socket, notes, die: (member) => deaths.get(member)?.(), said }
}

const command = (type: 'subscribe' | 'unsubscribe', ...channels: string[]): string => JSON.stringify({ type, channels } satisfies Command)
const told = (said: Said[]): string[] => said.map((message) => [message.to ?? 'all', message.type, 'channel' in message ? message.channel : ''].join(' ').trim())

test('the gateway is asked for what the first tab wants, and told to stop by the last', () => {
  const { hub, socket, said, notes } = lead()
  socket.open()
  hub.command('a', command('subscribe', 'x', 'y'))
  socket.acknowledge()
  notes.length = 0
  hub.command('b', command('subscribe', 'x', 'z'))
  assert.deepEqual(told(said()), ['b subscribed x'], 'what is settled is answered here')
  hub.command('a', command('unsubscribe', 'x', 'y'))
  assert.deepEqual(told(said()), ['b subscribed x', 'a unsubscribed x'])
  hub.command('b', command('unsubscribe', 'x'))
  assert.deepEqual(socket.sent, [
    { type: 'subscribe', channels: ['x', 'y'] }, { type: 'subscribe', channels: ['z'] },
    { type: 'unsubscribe', channels: ['y'] }, { type: 'unsubscribe', channels: ['x'] },
  ])
})

test('a channel that was left and is wanted again is asked for again', () => {
  const { hub, socket } = lead()
  socket.open()
  hub.command('a', command('subscribe', 'x'))
  socket.acknowledge()
  hub.command('a', command('unsubscribe', 'x'))
  hub.command('b', command('subscribe', 'x'))
  assert.deepEqual(socket.sent.map(({ type }) => type), ['subscribe', 'unsubscribe', 'subscribe'])
})

test('a tab that is gone takes what only it wanted along', () => {
  for (const end of ['leave', 'die'] as const) {
    const { hub, socket, die } = lead()
    socket.open()
    hub.command('a', command('subscribe', 'x'))
    hub.command('b', command('subscribe', 'x', 'y'))
    if (end === 'leave') hub.hear({ kind: 'leave', from: 'b', lost: false })
    else die('b')
    assert.deepEqual(socket.sent.slice(2), [{ type: 'unsubscribe', channels: ['y'] }], end)
  }
})

test('a tab that comes later is greeted as the gateway would, with the time that passed', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: epoch })
  const { hub, socket, said, notes } = lead()
  assert.deepEqual(notes.map(({ kind }) => kind), ['welcome', 'welcome'], 'while it dials it has nothing to say')
  socket.open({ clientId: 'c-7', timestamp: 1000, expiresAt: 601_000 })
  socket.say({ type: 'authenticated', timestamp: 1000, expiresAt: 901_000 })
  t.mock.timers.setTime(epoch + 300_000)
  notes.length = 0
  hub.hear({ kind: 'hello', from: 'c' })
  assert.deepEqual(said(), [{ to: 'c', type: 'connected', clientId: 'c-7', timestamp: 301_000, expiresAt: 901_000 }])
})

test('a tab that says hello twice is greeted once, and keeps what it asked for', () => {
  const { hub, socket, notes } = lead()
  socket.open()
  hub.command('b', command('subscribe', 'x'))
  socket.acknowledge()
  notes.length = 0
  hub.hear({ kind: 'hello', from: 'b' })
  assert.deepEqual(notes, [])
  hub.command('a', command('subscribe', 'x'))
  hub.command('a', command('unsubscribe', 'x'))
  assert.deepEqual(socket.sent.map(({ type }) => type), ['subscribe'], 'b wants it')
})

test('the end of the connection is everybody\'s, and so is what one tab finds dead', () => {
  const { hub, socket, notes } = lead()
  socket.open()
  socket.onclose?.({ code: 1012, reason: 'retry=70' })
  hub.hear({ kind: 'leave', from: 'b', lost: true })
  assert.deepEqual(notes.slice(-2), [
    { kind: 'over', by: 'a', code: 1012, reason: 'retry=70' },
    { kind: 'over', by: 'a', code: 1006, reason: 'silence' },
  ])
  hub.close()
  assert.deepEqual(socket.closed, { code: 1000 })
})

test('a frame that is no message is handed on, for the clients to tell', () => {
  const { socket, notes } = lead()
  socket.open()
  notes.length = 0
  for (const frame of ['nonsense', 'null', new Uint8Array([1])]) socket.frame(frame)
  assert.deepEqual(notes.map((note) => note.kind === 'say' && note.data), ['nonsense', 'null', new Uint8Array([1])])
})

test('without Web Locks each tab has a socket of its own', (t) => {
  const kept = Object.getOwnPropertyDescriptor(globalThis, 'WebSocket')
  Object.defineProperty(globalThis, 'WebSocket', { configurable: true, value: FakeSocket })
  t.after(() => { if (kept) Object.defineProperty(globalThis, 'WebSocket', kept); else Reflect.deleteProperty(globalThis, 'WebSocket') })
  const Shared = sharedSocket()
  assert.ok(new Shared('ws://gateway/ws', ['carillon.v1']) instanceof FakeSocket)
})
