// The real gateway and a real Redis, as processes of a test. They listen on loopback and end with the test.
import assert from 'node:assert/strict'
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

const binary = process.env['GATEWAY'] ?? fileURLToPath(new URL('../../.cache/gateway', import.meta.url))
const running = new Set<ChildProcess>()
process.on('exit', () => { for (const child of running) child.kill('SIGKILL') })

/** What a test is handed to tidy up with: node:test's context, or a stack of one's own. */
export interface Ends { after(tidy: () => unknown): void }

/**
 * An IP address that only this process uses, out of 127.192.0.0/10, which is loopback, too. A port of 127.0.0.1 can
 * be taken while the program that has it is down: by another test, or by an outgoing connection, which comes from
 * 127.0.0.1. The lock is a unix socket without a file: the kernel gives its name to one process at a time.
 */
const ownIP: Promise<string> = (async () => {
  for (let i = 0; i < 1000; i++) {
    const n = (process.pid + i) % 2 ** 22
    const ip = `127.${192 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`
    const lock = createServer()
    const mine = await new Promise<boolean>((resolve) => {
      lock.once('error', () => resolve(false))
      lock.listen(`\0carillon-test-${ip}`, () => resolve(true))
    })
    if (!mine) continue
    lock.unref()
    return ip
  }
  throw new Error('no IP address is left for this process')
})()

let lastPort = 20_000

/** A port of an address that only this process uses, for a program that cannot say which one it took. */
async function nextPort(ip: string): Promise<number> {
  for (;;) {
    const port = ++lastPort
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)) // somebody listens there on all addresses
      server.listen(port, ip, () => server.close(() => resolve(true)))
    })
    if (free) return port
  }
}

/** A process that is ready when it has said so, and can be killed and started again. */
class Program {
  #child: ChildProcess | undefined

  constructor(private readonly command: string, protected args: string[], protected readonly ready: RegExp) {}

  /** Resolves to what it said until it was ready. */
  async start(): Promise<string> {
    const child = (this.#child = spawn(this.command, this.args, { stdio: ['ignore', 'pipe', 'pipe'] }))
    running.add(child)
    child.once('exit', () => running.delete(child))
    let said = ''
    await new Promise<void>((resolve, reject) => {
      const hear = (text: Buffer): void => { if (this.ready.test(said += text.toString())) resolve() }
      child.stdout.on('data', hear)
      child.stderr.on('data', hear)
      child.once('error', reject)
      child.once('exit', (code) => reject(new Error(`${this.command} ended with ${code}: ${said}`)))
    })
    return said
  }

  /** Sends a signal; those that end a process are waited for. */
  async signal(name: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(name)
    if (name === 'SIGKILL' || name === 'SIGTERM') await exited
  }
}

export class Redis extends Program {
  private constructor(readonly ip: string, readonly port: number) {
    super('redis-server', ['--bind', ip, '--port', String(port), '--save', '', '--appendonly', 'no'], /Ready to accept connections/)
  }

  static async start(t: Ends): Promise<Redis> {
    const ip = await ownIP
    const redis = new Redis(ip, await nextPort(ip))
    t.after(() => redis.signal('SIGKILL'))
    await redis.start()
    return redis
  }

  get url(): string { return `redis://${this.ip}:${this.port}` }
}

export interface GatewayOptions { command?: 'serve' | 'demo'; redis?: Redis; flags?: string[] }

export class Gateway extends Program {
  /** host:port of both listeners, once it has started. */
  #places: readonly [clients: string, admin: string] | undefined

  private constructor(ip: string, private readonly options: GatewayOptions) {
    super(binary, [], /clients +ws:\/\/(\S+)\/ws[^]*admin +http:\/\/(\S+)\/\n[^]*Try next/)
    this.#listen(`${ip}:0`, `${ip}:0`)
  }

  static async start(t: Ends, options: GatewayOptions = {}): Promise<Gateway> {
    const gateway = new Gateway(await ownIP, options)
    t.after(() => gateway.signal('SIGKILL'))
    await gateway.start()
    return gateway
  }

  #listen(clients: string, admin: string): void {
    const { command = 'serve', redis, flags = [] } = this.options
    this.args = [command, '-addr', clients, '-admin', admin, ...(redis ? ['-redis', redis.url] : []), '-loops', '2', '-drain', '0', '-log-format', 'text', ...flags]
  }

  /** What another command of the same binary prints. */
  run(...args: string[]): string { return execFileSync(binary, args, { encoding: 'utf8' }) }

  /** Starts on ports of its choice, and after a kill on the same ports again. */
  override async start(): Promise<string> {
    const said = await super.start()
    const [, clients, admin] = this.ready.exec(said) ?? []
    assert.ok(clients && admin, said)
    this.#places = [clients, admin]
    this.#listen(clients, admin)
    await this.ready200()
    return said
  }

  get url(): string { return `ws://${this.#place(0)}/ws` }

  get admin(): string { return `http://${this.#place(1)}` }

  #place(which: 0 | 1): string {
    assert.ok(this.#places, 'it has not started')
    return this.#places[which]
  }

  async ready200(want = 200): Promise<void> {
    await eventually(`/readyz is ${want}`, async () => {
      const status = await fetch(`${this.admin}/readyz`).then((r) => r.status, () => 0)
      return status === want
    })
  }

  async publish(channel: string, data: string | Uint8Array<ArrayBuffer>): Promise<void> {
    const answer = await fetch(`${this.admin}/publish/${encodeURIComponent(channel)}`, { method: 'POST', body: data })
    assert.equal(answer.status, 200, await answer.text())
  }

  async stats(): Promise<{ connections: number; subscriptions: number }> {
    return await (await fetch(`${this.admin}/stats`)).json() as { connections: number; subscriptions: number }
  }
}

/** Waits for what must become true; it is never waited out when all is well. */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>, patience = 20_000): Promise<void> {
  const deadline = Date.now() + patience
  while (!await holds()) {
    if (Date.now() > deadline) assert.fail(`it never came that ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
