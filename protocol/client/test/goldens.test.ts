// Both ends of the wire are held against the same files: these, and the Go tests of package protocol.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { CloseCode, comeback, type Comeback, type Command, type ErrorCode, type GapReason } from '../src/index.js'
import { commands, decode, shortName, subprotocol } from '../src/messages.js'

const golden = <T>(name: string): T[] =>
  JSON.parse(readFileSync(new URL(`../../testdata/${name}.json`, import.meta.url), 'utf8')) as T[]

test('every message of the gateway is understood', () => {
  const rows = golden<{ name: string; message: object; wire: string }>('messages')
  assert.ok(rows.length >= 12)
  for (const { name, message, wire } of rows) assert.deepEqual(decode(wire), message, name)
})

test('every command is one that the gateway knows, letter by letter', () => {
  const wires = new Map(golden<{ name: string; wire: string }>('commands').map(({ name, wire }) => [name, wire]))
  const written = (command: Command): string => JSON.stringify(command)
  const [many] = commands('unsubscribe', ['user:42', 'team:7'])
  assert.ok(many)
  assert.equal(written(many), wires.get('unsubscribe many'))
  const [join] = commands('subscribe', ['user:42', 'team:7', 'news'])
  assert.deepEqual({ id: 8, ...join }, JSON.parse(wires.get('subscribe many') ?? ''), 'this client sends no id')
  assert.equal(written({ type: 'ping' }), wires.get('ping'))
  assert.equal(written({ type: 'auth', token: 'eyJhbGciOiJIUzI1NiJ9.e30.c2ln' }), wires.get('auth'))
})

test('close codes have the names and the meaning that the gateway gives them', () => {
  const rows = golden<{ code: number; name: string; comeback: Comeback }>('codes')
  assert.deepEqual(CloseCode, Object.fromEntries(rows.map(({ name, code }) => [name, code])))
  for (const row of [...rows, ...golden<{ code: number; comeback: Comeback }>('comeback')]) {
    assert.equal(comeback(row.code), row.comeback, String(row.code))
  }
})

test('the error codes and reasons of a gap are those of the gateway', () => {
  const errors: Record<ErrorCode, true> = { // the compiler wants each of them, and no other
    bad_json: true, bad_type: true, bad_channel: true, too_many_channels: true,
    forbidden: true, rate_limited: true, bad_token: true, internal: true,
  }
  const gaps: Record<Exclude<GapReason, 'reconnected'>, true> = { redis: true, overload: true, slow: true }
  assert.deepEqual(Object.keys(errors), golden<{ code: string }>('errors').map(({ code }) => code))
  assert.deepEqual(Object.keys(gaps), golden<{ code: string }>('gaps').map(({ code }) => code))
})

test('many channels go in commands that a gateway takes', () => {
  const names = Array.from({ length: 250 }, (_, i) => `${'€'.repeat(84)}${i}`) // 255 bytes
  const sent = [...commands('subscribe', names)]
  assert.deepEqual(sent.flatMap((command) => 'channels' in command ? command.channels : []), names)
  assert.equal(sent.length, 3)
  for (const command of sent) assert.ok(Buffer.byteLength(JSON.stringify(command)) < 64 << 10)
  assert.deepEqual([...commands('subscribe', [])], [])
})

test('names are brought to their short form', () => {
  for (const [name, want] of [
    ['user:42', 'user:42'],
    ['notifications:user:42', 'user:42'],
    ['notifications:notifications:x', 'notifications:notifications:x'], // refused, rather than taken for another
    ['notification:x', 'notification:x'],
    ['', ''],
    ['half \ud83d', 'half \ufffd'],
    ['whole \u{1f514}', 'whole \u{1f514}'],
  ] as const) assert.equal(shortName(name), want)
})

test('the version of the wire is offered', () => assert.equal(subprotocol, 'carillon.v1'))
