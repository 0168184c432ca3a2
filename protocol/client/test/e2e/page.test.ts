// The gateway's demo page: what a newcomer sees first.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { axe, launch, visit } from '../harness/browser.js'
import { eventually, Gateway, Redis } from '../harness/gateway.js'

let browser: Browser
before(async () => { browser = await launch() })
after(() => browser.close())

const badge = (page: Page): Promise<string | null> => page.locator('#badge').textContent()
const live = (page: Page): Promise<void> => page.locator('#chip[data-state=connected]').waitFor()
const subscribed = (page: Page): Promise<void> => page.getByText('Subscribed.').waitFor()

test('what is published rings the bell', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, gateway.admin)
  await subscribed(page)
  await page.getByLabel('Text').fill('hello <b>world</b>')
  assert.match(await page.locator('#redis-line').textContent() ?? '', /PUBLISH notifications:user:123 'hello <b>world<\/b>'$/)
  await page.keyboard.press('Enter')
  await page.locator('#list').getByText('hello <b>world</b>').waitFor()
  await page.getByText('Redis handed it to 1 receiver.').waitFor()
  await gateway.publish('user:123', '{"title":"Ana","body":"commented"}')
  await eventually('both are counted', async () => await badge(page) === '2')
  assert.equal(await page.title(), '(2) Carillon')
  await eventually('latencies are drawn', async () => (await page.locator('#line').getAttribute('points') ?? '').split(' ').length === 2)
  assert.match(await page.locator('.took').last().textContent() ?? '', /^\d+\.\d mspublish → paint$/)
  await page.getByRole('button', { name: '2 unread. Mark as read' }).click()
  await page.getByRole('button', { name: 'No unread notifications' }).waitFor()
  await page.getByLabel('Listening on').fill('team:7')
  await page.keyboard.press('Enter')
  await subscribed(page)
  await gateway.publish('team:7', 'other channel')
  await page.locator('#list').getByText('other channel').waitFor()
})

test('the curl line does what the form does', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, gateway.admin)
  await subscribed(page)
  await page.getByLabel('Text').fill(`it's "quoted" $HOME`)
  const { execFileSync } = await import('node:child_process')
  execFileSync('sh', ['-c', `${await page.locator('#curl-line').textContent()} -s`])
  await page.locator('#list').getByText(`it's "quoted" $HOME`).waitFor()
})

test('a gateway that is killed and comes back: countdown, gap, and it rings again', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, gateway.admin)
  await subscribed(page)
  await gateway.signal('SIGKILL')
  await page.locator('#chip[data-state=waiting]').waitFor()
  assert.match(await page.locator('#countdown').textContent() ?? '', /^in \d+ s$/)
  await gateway.start()
  await live(page)
  await page.getByText('this page was disconnected').waitFor()
  await page.getByText(/^Back after \d+\.\d s/).waitFor()
  assert.match(await page.locator('#gaps').getAttribute('d') ?? '', /^M/)
  await gateway.publish('user:123', 'again')
  await page.locator('#list').getByText('again').waitFor()
})

test('Redis that goes and comes back', async (t) => {
  const redis = await Redis.start(t)
  const gateway = await Gateway.start(t, { redis })
  const page = await visit(t, browser, gateway.admin)
  await subscribed(page)
  assert.ok(await page.locator('#pause').isHidden(), 'a Redis that is not its own is not for a demo to break')
  await redis.signal('SIGKILL')
  await page.locator('#redis.wrong').waitFor()
  await redis.start()
  await page.getByText('the link to Redis was lost').waitFor()
  assert.equal(await page.locator('#chip').getAttribute('data-state'), 'connected')
  await gateway.ready200()
  await gateway.publish('user:123', 'again')
  await page.locator('#list').getByText('again').waitFor()
})

test('the button that pauses Redis', async (t) => {
  const gateway = await Gateway.start(t, { command: 'demo' })
  const page = await visit(t, browser, gateway.admin)
  await subscribed(page)
  await page.getByRole('button', { name: 'Pause Redis' }).click()
  await page.getByText('Redis is away for 4 s.').waitFor()
  assert.ok(await page.locator('#pause').isDisabled())
  await page.getByText('the link to Redis was lost').waitFor()
  await page.getByText('Redis is back.').waitFor()
  await gateway.ready200()
  await gateway.publish('user:123', 'after the pause')
  await page.locator('#list').getByText('after the pause').waitFor()
})

test('the button that kills the connection asks for this one, and to come back', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, gateway.admin)
  await subscribed(page)
  const asked: unknown[] = []
  await page.route('**/disconnect', async (route) => {
    asked.push(route.request().postDataJSON())
    await route.fulfill({ json: { disconnected: 1 } })
  })
  await page.getByRole('button', { name: 'Kill my connection' }).click()
  await eventually('it is asked', () => asked.length === 1)
  const [{ client, ...rest }] = asked as [{ client: string }]
  assert.match(client, /^[0-9a-f-]{36}$/)
  assert.deepEqual(rest, { reconnect: true })
})

test('the button that kills the connection', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, gateway.admin)
  await subscribed(page)
  await page.getByRole('button', { name: 'Kill my connection' }).click()
  await page.getByText('this page was disconnected').waitFor()
  await page.getByText(/^Back after \d+\.\d s/).waitFor()
  await live(page)
})

for (const colorScheme of ['light', 'dark'] as const) {
  test(`nobody is left out, ${colorScheme}`, async (t) => {
    const gateway = await Gateway.start(t, { command: 'demo' })
    const page = await visit(t, browser, gateway.admin, { colorScheme, bypassCSP: true, reducedMotion: 'reduce' })
    await subscribed(page)
    await gateway.publish('user:123', '{"title":"Ana","body":"commented"}')
    await page.getByRole('button', { name: 'Pause Redis' }).click()
    await page.getByText('the link to Redis was lost').waitFor()
    assert.deepEqual(await axe(page), [])
  })
}

test('it works by keyboard alone, on a phone\'s width without scrolling sideways', async (t) => {
  const gateway = await Gateway.start(t)
  const page = await visit(t, browser, gateway.admin, { viewport: { width: 360, height: 740 } })
  await subscribed(page)
  const reached: string[] = []
  for (let i = 0; i < 14; i++) {
    await page.keyboard.press('Tab')
    reached.push(await page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent?.trim() || ''))
  }
  for (const id of ['bell', 'channel', 'to', 'text', 'Publish', 'Copy', 'kill']) assert.ok(reached.includes(id), `${id} is not among ${reached}`)
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth))
})
