// The demo page. It is a client of the gateway like any other, and uses the library in protocol/client.
import { NotificationClient, type ClientEvents } from '../../../protocol/client/src/index.js'
import { $, input, say } from './dom.js'
import { ask, token, type Info, type Stats } from './gateway.js'
import { addGap, addNotification, markRead } from './inbox.js'
import { copy, publish, shortForm, showCommands } from './publish.js'

const pauseMs = 4000
const loopback = /^(localhost|127\.|\[::1\])/.test(location.hostname)
let info: Info | undefined
let client: NotificationClient | undefined
let listening = 'user:123'
let unsubscribe = (): void => {}
let lostAt = 0 // performance.now(), 0: connected
let wasConnected = false
let countdown: ReturnType<typeof setInterval> | undefined

// --- the connection ---

function showState({ state, retryAt, code, reason }: ClientEvents<string>['state']): void {
  clearInterval(countdown)
  $('chip').dataset['state'] = state
  $('retry').hidden = state !== 'waiting'
  const words = { waiting: 'reconnecting', closed: `closed: ${reason || `code ${code}`}`, connected: 'live' } as const
  $('state').textContent = state in words ? words[state as keyof typeof words] : state
  $('countdown').textContent = ''
  if (state === 'connected') {
    if (lostAt) say($('broke'), `Back after ${((performance.now() - lostAt) / 1000).toFixed(1)} s, subscribed again.`)
    lostAt = 0
    wasConnected = true
    return
  }
  if (wasConnected) lostAt ||= performance.now()
  say($('heard'), wasConnected || loopback ? '' : `Off loopback the gateway needs -allow-origin ${location.origin}`)
  if (retryAt === undefined) return
  const tick = (): void => { $('countdown').textContent = `in ${Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))} s` }
  countdown = setInterval(tick, 250)
  tick()
}

function connect(url: string): void {
  client = new NotificationClient(url, { reconnectDelay: 3000 }) // longer than needed, so that people can see it
  client.on('state', showState)
  client.on('connected', ({ reconnected }) => { if (reconnected) void ask<Info>('info').then(describe, () => {}) })
  client.on('subscribed', ({ channel }) => { if (channel === listening) say($('heard'), 'Subscribed. A second tab rings too.') })
  client.on('notification', addNotification)
  client.on('gap', (gap) => {
    addGap(gap)
    if (gap.reason === 'redis') say($('broke'), 'Redis is back. Notifications of the meantime may be missing; the gap says so.')
  })
  client.on('error', ({ code, message }) => say($('heard'), code === 'unauthorized' ? 'This gateway needs a token from its clients, and this page has none.' : message, true))
  unsubscribe = client.subscribe(listening)
}

function listen(event: Event): void {
  event.preventDefault()
  const channel = shortForm(input('channel').value)
  if (!channel || channel === listening) return
  if (input('to').value === listening) input('to').value = channel
  unsubscribe()
  listening = channel
  say($('heard'), '')
  if (client) unsubscribe = client.subscribe(channel)
  showCommands()
}

// --- buttons that break something ---

async function cause(what: string, path: string, body: object): Promise<void> {
  say($('broke'), what)
  try {
    await ask(path, body)
  } catch (error) {
    say($('broke'), (error as Error).message, true)
  }
}

const kill = (): Promise<void> =>
  cause('The gateway closes this connection …', 'disconnect', { client: client?.status.clientId, reconnect: true })

async function pause(): Promise<void> {
  input('pause').disabled = true
  setTimeout(() => { input('pause').disabled = false }, pauseMs)
  await cause(`Redis is away for ${pauseMs / 1000} s. Your connection stays open. What is published now is lost, and a gap will say so.`, 'demo/redis', { pause: pauseMs })
}

// --- the gateway's numbers ---

const counts = ['connections', 'publications', 'deliveries'] as const

async function showNumbers(): Promise<void> {
  if (!document.hidden) try {
    const stats = await ask<Stats>('stats')
    for (const id of counts) $(id).textContent = stats[id].toLocaleString('en')
    say($('redis'), stats.redisUp ? (info?.redisEmbedded ? 'embedded' : 'up') : 'down', !stats.redisUp)
  } catch {
    for (const id of [...counts, 'redis']) say($(id), '–')
  }
  setTimeout(showNumbers, 1000) // after the answer, so that requests do not pile up while the listener hangs
}

/** Shows which gateway this is. After a restart it may be another version. */
function describe(now: Info): void {
  info = now
  $('version').textContent = now.version
  $('loops').textContent = String(now.loops)
  $('address').textContent = now.url
  $('pause').hidden = !now.redisPauses
  showCommands(now)
}

async function start(): Promise<void> {
  try {
    const now = await ask<Info>('info')
    describe(now)
    connect(now.url)
    void showNumbers()
  } catch (error) {
    $('state').textContent = (error as Error).message
    setTimeout(start, 2000)
  }
}

$('profiles').hidden = token !== null // a link cannot send the token; only the two pages take it from the query
$<HTMLAnchorElement>('ops').search = location.search
$('bell').onclick = markRead
$('retry').onclick = () => client?.reconnect()
$('kill').onclick = kill
$('pause').onclick = pause
$('listen').onsubmit = listen
$('channel').onchange = listen
$('publish').onsubmit = (event) => {
  event.preventDefault()
  void publish(listening)
}
$('to').oninput = $('text').oninput = () => showCommands()
for (const button of document.querySelectorAll<HTMLElement>('[data-copies]')) button.onclick = () => copy(button)
showCommands()
void start()
