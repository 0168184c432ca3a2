// A real browser, Debian's Chromium, and a site for it to visit.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import type { Ends } from './gateway.js'

export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  })

/** A page of its own profile, whose script errors fail the test. */
export async function visit(t: Ends, browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  const errors: Error[] = []
  page.on('pageerror', (error) => errors.push(error))
  t.after(async () => {
    await context.close()
    assert.deepEqual(errors, [], 'errors on the page')
  })
  page.setDefaultTimeout(20_000)
  await page.goto(url)
  return page
}

/** What axe finds wrong with a page, which was visited with bypassCSP. */
export async function axe(page: Page): Promise<string[]> {
  await page.addScriptTag({ path: createRequire(import.meta.url).resolve('axe-core/axe.min.js') })
  return await page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }
    return (await axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)
  })
}

const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' }

async function serve(t: Ends, content: (path: string) => Promise<Buffer | string>): Promise<string> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://site').pathname
    content(path).then(
      (body) => response.writeHead(200, {
        'Content-Type': `${types[extname(path)] ?? 'text/html'}; charset=utf-8`, 'Access-Control-Allow-Origin': '*', // for sandboxed frames
      }).end(body),
      () => response.writeHead(404).end(),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => new Promise((resolve) => { server.close(resolve); server.closeAllConnections() }))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Serves a folder that was built. */
export const serveFolder = (t: Ends, folder: string): Promise<string> =>
  serve(t, (path) => readFile(join(folder, path === '/' ? 'index.html' : path)))

/** Serves one page of ./e2e/pages, bundled as for development: React mounts twice there. */
export async function servePage(t: Ends, name: string): Promise<string> {
  const { outputFiles: [script] } = await build({
    entryPoints: [fileURLToPath(new URL(`../e2e/pages/${name}`, import.meta.url))],
    bundle: true, format: 'esm', jsx: 'automatic', define: { 'process.env.NODE_ENV': '"development"' }, write: false,
  })
  assert.ok(script)
  const html = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>test</title><div id="root"></div><script type="module" src="/script.js"></script>'
  return await serve(t, async (path) => path === '/script.js' ? Buffer.from(script.contents) : html)
}
