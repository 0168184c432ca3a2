// Importing is free of side effects, and works where there is neither a page nor a WebSocket.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'

const run = (code: string): string =>
  execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', code], { encoding: 'utf8', cwd: new URL('..', import.meta.url) }).trim()

test('importing touches nothing', () => {
  const guard = `
    const touched = []
    for (const name of ['window', 'document', 'navigator', 'WebSocket', 'BroadcastChannel', 'localStorage', 'addEventListener', 'setTimeout', 'setInterval']) {
      const kept = globalThis[name]
      Object.defineProperty(globalThis, name, { configurable: true, get() { if (armed) touched.push(name); return kept } })
    }
    let armed = false
    await import('react')
    const before = Object.keys(globalThis).length
    armed = true`
  const modules = ['index', 'react', 'tabs'].map((name) => `await import('./src/${name}.ts');`).join('\n')
  assert.equal(run(`${guard}\n${modules}\narmed = false\nconsole.log(JSON.stringify([touched, Object.keys(globalThis).length - before]))`), '[[],0]')
})

test('a client that is made where pages are rendered opens nothing and keeps no process alive', () => {
  const code = `
    import { NotificationClient } from './src/index.ts'
    const client = new NotificationClient('wss://api.example.com/ws')
    client.subscribe('user:123')
    client.on('notification', () => {})
    console.log(client.state)`
  assert.equal(run(code), 'idle')
})

test('where there is no WebSocket, connecting says so', () => {
  const code = `
    import { NotificationClient } from './src/index.ts'
    const client = new NotificationClient('wss://api.example.com/ws')
    client.on('error', ({ code, message }) => console.log(code, message))
    client.connect()`
  assert.equal(run(`delete globalThis.WebSocket; ${code}`), 'no_socket Error: no WebSocket')
})
