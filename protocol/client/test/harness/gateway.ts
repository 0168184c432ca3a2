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

/** A free port below those that the kernel gives to outgoing connections: it must be free again after a restart. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    })
    if (free) return port
  }
}

/** A process that is ready when it has said so, and can be killed and started again. */
class Program {
  #child: ChildProcess | undefined

  constructor(private readonly command: string, private readonly args: string[], private readonly ready: RegExp) {}

  async start(): Promise<void> {
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
  private constructor(readonly port: number) {
    super('redis-server', ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--appendonly', 'no'], /Ready to accept connections/)
  }

  static async start(t: Ends): Promise<Redis> {
    const redis = new Redis(await freePort())
    t.after(() => redis.signal('SIGKILL'))
    await redis.start()
    return redis
  }

  get url(): string { return `redis://127.0.0.1:${this.port}` }
}

export interface GatewayOptions { command?: 'serve' | 'demo'; redis?: Redis; flags?: string[] }

export class Gateway extends Program {
  private constructor(readonly port: number, readonly adminPort: number, { command = 'serve', redis, flags = [] }: GatewayOptions) {
    const places = ['-addr', `127.0.0.1:${port}`, '-admin', `127.0.0.1:${adminPort}`, ...(redis ? ['-redis', redis.url] : [])]
    super(binary, [command, ...places, '-loops', '2', '-drain', '0', '-log-format', 'text', ...flags], /Try next/)
  }

  static async start(t: Ends, options: GatewayOptions = {}): Promise<Gateway> {
    const gateway = new Gateway(await freePort(), await freePort(), options)
    t.after(() => gateway.signal('SIGKILL'))
    await gateway.start()
    return gateway
  }

  /** What another command of the same binary prints. */
  run(...args: string[]): string { return execFileSync(binary, args, { encoding: 'utf8' }) }

  /** Starts again on the same ports, after a kill. */
  override async start(): Promise<void> {
    await super.start()
    await this.ready200()
  }

  get url(): string { return `ws://127.0.0.1:${this.port}/ws` }

  get admin(): string { return `http://127.0.0.1:${this.adminPort}` }

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
