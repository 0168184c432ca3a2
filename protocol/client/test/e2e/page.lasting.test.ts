// The gateway's demo page when it is left open: whatever comes, whoever is stuck, it neither grows nor tells untruths.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { launch, visit } from '../harness/browser.js'
import { eventually, Gateway } from '../harness/gateway.js'

let browser: Browser
before(async () => { browser = await launch() })
after(() => browser.close())

const subscribed = (page: Page): Promise<void> => page.getByText('Subscribed.').waitFor()

test('a payload of any length and script has its place', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, gateway.admin)
  await subscribed(page)
  const newest = page.locator('#list li').first()
  await gateway.publish('user:123', 'x'.repeat(60_000))
  await newest.getByText(/^x{200} … \(60,000 characters\)$/).waitFor()
  await page.locator('.toast').getByText(/^x{100} … \(60,000 characters\)$/).waitFor()
  await gateway.publish('user:123', `${'\n'.repeat(150)}the end`)
  await newest.getByText('the end').waitFor()
  assert.ok((await newest.boundingBox())!.height < 300, 'it is cut off')
  await gateway.publish('user:123', '')
  await newest.getByText('(no text)').waitFor()
  await gateway.publish('user:123', 'مرحبا (42).')
  assert.equal(await newest.getByText('مرحبا').evaluate((element) => getComputedStyle(element).direction), 'rtl')
})

test('a flood leaves nothing behind, and is told once in a while', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, gateway.admin)
  await subscribed(page)
  await page.evaluate(() => {
    const toasts = document.querySelector('#toasts')!
    new MutationObserver(() => { document.body.dataset['toasts'] = String(Number(document.body.dataset['toasts'] ?? 0) + 1) }).observe(toasts, { childList: true })
  })
  const devtools = await page.context().newCDPSession(page)
  const held = async (): Promise<{ nodes: number; jsEventListeners: number }> => {
    await devtools.send('HeapProfiler.collectGarbage')
    return await devtools.send('Memory.getDOMCounters')
  }
  const before = await held()
  const started = Date.now()
  for (let i = 0; i < 300; i++) await gateway.publish('user:123', `number ${i}`)
  await page.locator('#list').getByText('number 299').waitFor()
  await eventually('the toast counts those it does not show', async () => / and \d+ more$/.test(await page.locator('.toast').textContent() ?? ''))
  const toasts = Number(await page.evaluate(() => document.body.dataset['toasts']))
  assert.ok(toasts <= 2 + (Date.now() - started) / 2000, `${toasts} toasts`)
  assert.equal(await page.locator('#list li').count(), 50)
  await eventually('what is not shown is collected', async () => {
    const now = await held()
    return now.jsEventListeners <= before.jsEventListeners && now.nodes <= before.nodes + 50 * 12
  })
})

test('a tab in the background does not wait to paint', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, gateway.admin)
  await subscribed(page)
  await page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { value: true })
    const { requestAnimationFrame } = window
    window.requestAnimationFrame = (then) => { document.body.dataset['waits'] = 'yes'; return requestAnimationFrame(then) }
  })
  await gateway.publish('user:123', 'unseen')
  await page.locator('#list').getByText('unseen').waitFor()
  assert.equal(await page.evaluate(() => document.body.dataset['waits']), undefined)
  assert.equal(await page.title(), '(1) Carillon')
})

test('a publication that was lost does not lend its time to the next one', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, gateway.admin)
  await subscribed(page)
  await page.route('**/publish/*', (route) => route.fulfill({ json: { receivers: 1 } }))
  await page.getByRole('button', { name: 'Publish' }).click()
  await page.getByText('Redis handed it to 1 receiver.').waitFor()
  await page.getByRole('button', { name: 'Kill my connection' }).click()
  await page.getByText('this page was disconnected').waitFor()
  await gateway.publish('user:123', 'Hello from Carillon')
  await page.locator('.took').getByText('gateway → paint').waitFor()
})

test('an admin listener that is stuck is asked once, and the page says so', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, 'about:blank')
  let asked = 0
  await page.route('**/stats', () => { asked++ }) // and no answer
  await page.clock.install()
  await page.goto(gateway.admin)
  await subscribed(page)
  await eventually('it is asked', () => asked > 0)
  await page.clock.runFor(5000)
  assert.equal(asked, 1)
  await page.route('**/publish/*', (route) => route.abort())
  await page.getByRole('button', { name: 'Publish' }).click()
  await page.getByText('No answer: is the gateway running?').waitFor()
})

test('a gateway that needs a token', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-'))
  t.after(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'key'), 'k'.repeat(32))
  const gateway = await Gateway.start(t, { flags: ['-jwt-secret', join(folder, 'key')] })
  const page = await visit(t, browser, gateway.admin)
  await page.getByText('This gateway needs a token from its clients, and this page has none.').waitFor()
})

test('the operator page is a link away, and takes the admin token along', async (t) => {
  const gateway = await Gateway.start(t, { flags: ['-admin-token', 'se+cret'] })
  const page = await visit(t, browser, `${gateway.admin}/?token=se%2Bcret`)
  await page.getByRole('link', { name: 'operator page' }).click()
  await page.locator('#state[data-state=ok]').waitFor()
  for (const link of await page.locator('nav a:visible').all()) {
    const address = await link.evaluate((a) => (a as HTMLAnchorElement).href)
    assert.equal((await fetch(address)).status, 200, address)
  }
})
