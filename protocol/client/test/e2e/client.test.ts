// The client in a real browser, against the real gateway.
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { after, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import type { NotificationClient } from '../../src/index.js'
import { launch, serveFolder, servePage, visit } from '../harness/browser.js'
import { eventually, Gateway } from '../harness/gateway.js'

declare global {
  interface Window { client: NotificationClient; heard: string[]; mounts: number }
}

let browser: Browser
before(async () => { browser = await launch() })
after(() => browser.close())

const where = (gateway: Gateway, more = ''): string => `/?gateway=${encodeURIComponent(gateway.url)}${more}`
const heard = (page: Page): Promise<string[]> => page.evaluate(() => window.heard)
const hears = (page: Page, what: string): Promise<void> => eventually(`a tab hears ${what}`, async () => (await heard(page)).includes(what))

test('many tabs are one connection; the tab that leads hands over when it closes', async (t) => {
  const gateway = await Gateway.start(t)
  const site = await servePage(t, 'tabs.ts')
  const first = await visit(t, browser, site + where(gateway, '&channel=shared&channel=first'))
  await hears(first, 'subscribed shared')
  const tabs = []
  for (const name of ['second', 'third']) {
    const tab = await first.context().newPage()
    await tab.goto(site + where(gateway, `&channel=shared&channel=${name}`))
    await hears(tab, 'subscribed shared')
    await hears(tab, `subscribed ${name}`)
    tabs.push(tab)
  }
  const [second, third] = tabs as [Page, Page]
  assert.equal((await gateway.stats()).connections, 1)
  await eventually('each channel is subscribed once', async () => (await gateway.stats()).subscriptions === 4)
  await gateway.publish('shared', '1')
  await gateway.publish('second', '2')
  for (const tab of [first, second, third]) await hears(tab, 'shared 1')
  await hears(second, 'second 2')
  assert.ok(!(await heard(third)).includes('second 2'), 'a tab hears what it subscribed to')

  await first.close() // it leads: it was the first
  await hears(second, 'gap shared reconnected')
  await hears(third, 'gap third reconnected')
  await eventually('one connection is left, without the channels of the tab that closed', async () => {
    const { connections, subscriptions } = await gateway.stats()
    return connections === 1 && subscriptions === 3
  })
  await gateway.publish('shared', '3')
  await hears(second, 'shared 3')
  await hears(third, 'shared 3')

  await third.close() // one that follows or leads: either way its channel goes
  await eventually('its channel is gone', async () => (await gateway.stats()).subscriptions === 2)
  await second.evaluate(() => window.client.close())
  await eventually('nothing is left', async () => (await gateway.stats()).connections === 0)
})

test('tabs come back together when the gateway does, over one connection', async (t) => {
  const gateway = await Gateway.start(t)
  const site = await servePage(t, 'tabs.ts')
  const first = await visit(t, browser, site + where(gateway, '&channel=a'))
  const second = await first.context().newPage()
  await second.goto(site + where(gateway, '&channel=a'))
  for (const tab of [first, second]) await hears(tab, 'subscribed a')
  await gateway.signal('SIGKILL')
  await eventually('both know', async () => (await Promise.all([first, second].map((tab) => tab.evaluate(() => window.client.state)))).every((state) => state !== 'connected'))
  await gateway.start()
  for (const tab of [first, second]) await hears(tab, 'gap a reconnected')
  assert.equal((await gateway.stats()).connections, 1)
})

test('a leader that is frozen is replaced', async (t) => {
  const gateway = await Gateway.start(t)
  const site = await servePage(t, 'tabs.ts')
  const first = await visit(t, browser, site + where(gateway, '&channel=a'))
  await hears(first, 'subscribed a')
  const devtools = await first.context().newCDPSession(first)
  await devtools.send('Debugger.enable')
  await devtools.send('Debugger.pause') // nothing runs there from here on
  void first.evaluate(() => 1).catch(() => {})
  const second = await first.context().newPage()
  await second.goto(site + where(gateway, '&channel=a'))
  await hears(second, 'subscribed a')
  await gateway.publish('a', 'still heard')
  await hears(second, 'a still heard')
  await devtools.send('Debugger.resume').catch(() => {})
})

test('users with names of their own do not share', async (t) => {
  const gateway = await Gateway.start(t)
  const site = await servePage(t, 'tabs.ts')
  const ann = await visit(t, browser, site + where(gateway, '&user=ann&channel=a'))
  const bob = await ann.context().newPage()
  await bob.goto(site + where(gateway, '&user=bob&channel=a'))
  for (const tab of [ann, bob]) await hears(tab, 'subscribed a')
  assert.equal((await gateway.stats()).connections, 2)
})

test('a frame that may not use Web Locks has a socket of its own', async (t) => {
  const gateway = await Gateway.start(t, { flags: ['-allow-origin', '*'] })
  const site = await servePage(t, 'tabs.ts')
  const page = await visit(t, browser, site)
  await page.setContent(`<iframe sandbox="allow-scripts" src="${site}${where(gateway, '&channel=a')}"></iframe>`)
  const frame = page.frames()[1] ?? assert.fail('no frame')
  await frame.waitForFunction(() => window.client)
  assert.equal(await frame.evaluate(() => navigator.locks.request('any', () => 'granted').catch(({ name }: Error) => name)), 'SecurityError')
  await eventually('it is subscribed', () => frame.evaluate(() => window.heard.includes('subscribed a')))
  assert.equal((await gateway.stats()).connections, 1)
})

test('what the shared socket refuses to dial ends the client, and says why', async (t) => {
  const page = await visit(t, browser, `${await servePage(t, 'tabs.ts')}/?gateway=mailto:nobody`)
  await eventually('it gives up', () => page.evaluate(() => window.client.state === 'closed'))
  const { code, reason } = await page.evaluate(() => window.client.status)
  assert.equal(code, 4000)
  assert.match(reason ?? '', /scheme/)
})

test('StrictMode and three bells open one socket', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, await servePage(t, 'strict.tsx') + where(gateway))
  const bells = page.locator('.bell')
  await bells.getByText('connected').first().waitFor()
  await eventually('it is subscribed', async () => (await gateway.stats()).subscriptions === 1)
  await gateway.publish('user:123', 'hello')
  await eventually('all ring once', async () => (await bells.allTextContents()).every((text) => text === 'connected 1 hello'))
  assert.equal(await page.evaluate(() => window.mounts), 6, 'each was mounted twice')
  assert.equal((await gateway.stats()).connections, 1)
  const opened = /ws_connections_opened_total(?:\{[^}]*\})? (\d+)/g
  const metrics = await (await fetch(`${gateway.admin}/metrics`)).text()
  const total = [...metrics.matchAll(opened)].reduce((sum, [, n]) => sum + Number(n), 0)
  assert.equal(total, 1, 'and none before it')
})

test('a page in the background that wakes up is back at once', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, await servePage(t, 'strict.tsx') + where(gateway))
  await page.getByText('connected').first().waitFor()
  const devtools = await page.context().newCDPSession(page)
  await devtools.send('Page.setWebLifecycleState', { state: 'frozen' })
  await gateway.signal('SIGKILL')
  await gateway.start()
  await devtools.send('Page.setWebLifecycleState', { state: 'active' })
  const woken = Date.now()
  await eventually('it is back', async () => (await gateway.stats()).connections === 1)
  assert.ok(Date.now() - woken < 5000)
  await eventually('it is subscribed', async () => (await gateway.stats()).subscriptions === 1)
  await gateway.publish('user:123', 'awake')
  await page.getByText('connected 1 awake').first().waitFor()
})

test('a network that goes and comes is noticed before any timer', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, await servePage(t, 'strict.tsx') + where(gateway))
  await page.getByText('connected').first().waitFor()
  await gateway.signal('SIGKILL')
  await page.evaluate(() => { window.client.close(); window.client.connect() })
  await page.evaluate(() => new Promise<void>((resolve) => window.client.on('state', ({ state, attempt }) => { if (state === 'waiting' && attempt >= 5) resolve() })))
  await gateway.start()
  await page.context().setOffline(true)
  await page.context().setOffline(false) // what the browser tells a page when Wi-Fi is back
  await eventually('it is back', () => page.evaluate(() => window.client.state === 'connected'), 3000)
})

test('the example app: its bell, built, against the gateway', async (t) => {
  const gateway = await Gateway.start(t)
  const site = await serveFolder(t, fileURLToPath(new URL('../../examples/react/dist', import.meta.url)))
  const page = await visit(t, browser, site + where(gateway))
  const bell = page.getByRole('button', { name: /^Notifications/ })
  await eventually('it is subscribed', async () => (await gateway.stats()).subscriptions === 1)
  await gateway.publish('user:123', '{"title":"Ana commented","body":"on your photo"}')
  await gateway.publish('user:123', 'plain text')
  await page.getByRole('button', { name: 'Notifications, 2 unread' }).waitFor()
  await bell.focus()
  await page.keyboard.press('Enter')
  const items = page.getByRole('listitem')
  assert.deepEqual(await items.count(), 2)
  await page.getByRole('button', { name: /^plain text/ }).click()
  await page.getByRole('button', { name: 'Notifications, 1 unread' }).waitFor()
  await page.getByRole('button', { name: 'Mark all read' }).click()
  assert.equal(await bell.getAttribute('aria-label'), 'Notifications')

  await gateway.signal('SIGKILL')
  await page.getByText(/^Back in \d+ s$/).waitFor()
  await gateway.start()
  await page.getByText('something may be missing').waitFor()
  await gateway.publish('user:123', 'after the restart')
  await page.getByRole('button', { name: 'Notifications, 1 unread' }).waitFor()
  await page.getByRole('button', { name: /^after the restart/ }).focus()
  await page.keyboard.press('Escape')
  assert.equal(await bell.getAttribute('aria-expanded'), 'false')
  assert.ok(await bell.evaluate((button) => button === document.activeElement), 'the keyboard is back at the bell')
  assert.equal((await gateway.stats()).connections, 1)
})
