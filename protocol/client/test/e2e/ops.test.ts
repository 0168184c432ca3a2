// The gateway's operator page: what whoever is on call looks at.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { axe, launch, visit } from '../harness/browser.js'
import { eventually, Gateway } from '../harness/gateway.js'

let browser: Browser
before(async () => { browser = await launch() })
after(() => browser.close())

const serving = (page: Page): Promise<void> => page.locator('#state[data-state=ok]').waitFor()

/** Waits until the page has asked for its numbers so many times more, and has shown the last but one. */
async function ticks(page: Page, n: number): Promise<void> {
  for (let i = 0; i < n; i++) await page.waitForResponse('**/stats')
}

async function connect(t: { after(tidy: () => unknown): void }, gateway: Gateway, page: Page): Promise<void> {
  const client = await page.context().newPage()
  await client.goto(gateway.admin)
  await client.getByText('Subscribed.').waitFor()
  t.after(() => client.close())
}

test('who is connected, and what they are sent', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, `${gateway.admin}/ops`)
  await serving(page)
  await connect(t, gateway, page)
  await page.getByLabel('slow only').uncheck()
  await page.getByLabel('channel').fill('user:123')
  await page.keyboard.press('Enter')
  await page.locator('#list').getByText('user:123').waitFor()
  await gateway.publish('user:123', 'hello')
  await page.locator('#width li').waitFor()
  await eventually('there is a latency', async () => /\d [µm]?s$/.test(await page.locator('#p99').textContent() ?? ''))
})

test('a gateway that dies is said, and the one that comes after it is shown', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, `${gateway.admin}/ops`)
  await serving(page)
  const first = await page.locator('#address').textContent()
  await gateway.signal('SIGKILL')
  await page.getByRole('status').getByText('no answer').waitFor()
  await gateway.start()
  await serving(page)
  await eventually('its pid is another', async () => await page.locator('#address').textContent() !== first)
})

test('another number of loops does not stop it', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, `${gateway.admin}/ops`)
  await serving(page)
  await page.route('**/loops', async (route) => {
    const loops = await (await route.fetch()).json() as object[]
    await route.fulfill({ json: [...loops, ...loops] })
  })
  await eventually('all are shown', async () => await page.locator('#loops tr').count() === 4)
  await ticks(page, 2)
  await serving(page)
})

test('its state is read out when it changes, not every second', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, `${gateway.admin}/ops`)
  await serving(page)
  await page.evaluate(() => {
    new MutationObserver(() => { document.body.dataset['said'] = 'yes' }).observe(document.querySelector('#state')!, { childList: true, characterData: true, subtree: true })
  })
  await ticks(page, 3)
  assert.equal(await page.evaluate(() => document.body.dataset['said']), undefined)
})

test('what is selected can be copied', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, `${gateway.admin}/ops`)
  await connect(t, gateway, page)
  await page.getByLabel('slow only').uncheck()
  const id = page.locator('#list td').first()
  await id.waitFor()
  await id.evaluate((cell) => getSelection()!.selectAllChildren(cell))
  await ticks(page, 3)
  assert.equal(await page.evaluate(() => getSelection()!.toString()), await id.textContent())
})

for (const colorScheme of ['light', 'dark'] as const) {
  test(`nobody is left out, ${colorScheme}, on a phone's width`, async (t) => {
    const gateway = await Gateway.start(t)
    const page = await visit(t, browser, `${gateway.admin}/ops`, { colorScheme, bypassCSP: true, viewport: { width: 360, height: 740 } })
    await serving(page)
    await connect(t, gateway, page)
    await page.getByLabel('slow only').uncheck()
    await page.locator('#list tr').first().waitFor()
    assert.deepEqual(await axe(page), [])
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth))
  })
}
