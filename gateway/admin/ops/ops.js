// The operator page. It asks the admin listener for its numbers once a second. The gateway's counters only grow, so rates
// and percentiles are differences between two answers.

const token = new URLSearchParams(location.search).get('token')
const headers = token ? { Authorization: `Bearer ${token}` } : {}
const $ = (id) => document.getElementById(id)
const EVERY = 1000, KEPT = 120, PERCENTILES_OVER = 10
const history = [] // answers, the newest last
const lines = { deliveries: [], p99: [], backlog: [] }

async function ask(path) {
  const answer = await fetch(path, { headers, cache: 'no-store', signal: AbortSignal.timeout(5000) }).catch((error) => {
    throw new Error(error.name === 'TimeoutError' ? 'no answer in 5 s' : 'no answer')
  })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${(await answer.text()).trim()}`)
  return answer.json()
}

// Numbers as text for people.
const whole = (n) => Math.round(n).toLocaleString('en')
function short(n) {
  if (n === null) return '–'
  for (const [unit, size] of [['G', 1e9], ['M', 1e6], ['k', 1e4]]) if (n >= size) return (n / (unit === 'k' ? 1e3 : size)).toFixed(1) + unit
  return n < 10 && n % 1 ? n.toFixed(1) : whole(n)
}
function bytes(n) {
  if (n === null) return '–'
  for (const [unit, size] of [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]]) if (n >= size) return `${(n / size).toFixed(1)} ${unit}`
  return `${whole(n)} B`
}
function time(s) {
  if (s === null) return '–'
  if (s > 0 && s < 1e-3) return `${(s * 1e6).toFixed(0)} µs`
  if (s > 0 && s < 1) return `${(s * 1e3).toFixed(s < 0.01 ? 1 : 0)} ms`
  if (s < 120) return `${s.toFixed(s > 0 && s < 10 ? 1 : 0)} s`
  return s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`
}

function element(name, text, className) {
  const e = document.createElement(name)
  if (text !== undefined) e.textContent = text
  if (className) e.className = className
  return e
}

function row(...cells) {
  const tr = element('tr')
  for (const cell of cells) {
    if (cell instanceof Node) tr.append(cell)
    else if (Array.isArray(cell)) tr.append(element('td', cell[0], cell[1]))
    else tr.append(element('td', cell))
  }
  return tr
}

// quantile returns a percentile of the values between two answers, as exact as the buckets are narrow.
function quantile(q, now, before) {
  const counts = now.map((b, i) => b.n - (before?.[i].n ?? 0))
  const total = counts.reduce((a, b) => a + b, 0)
  if (total <= 0) return null
  let rank = q * total, low = 0
  for (let i = 0; i < counts.length; i++) {
    const high = now[i].upTo || low
    if (rank <= counts[i]) return low + (high - low) * (rank / counts[i])
    rank -= counts[i]
    low = high
  }
  return low
}

function draw(id, values) {
  const w = 100, h = 30, top = Math.max(...values.map((v) => v ?? 0), 1e-9)
  const at = values.map((v, i) => `${((i + KEPT - values.length) * w) / (KEPT - 1)} ${h - ((v ?? 0) / top) * (h - 2)}`)
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'path')
  const area = line.cloneNode()
  area.setAttribute('class', 'area')
  area.setAttribute('d', `M${at[0].split(' ')[0]} ${h}L${at.join('L')}L${w} ${h}Z`)
  line.setAttribute('d', `M${at.join('L')}`)
  $(id).setAttribute('viewBox', `0 0 ${w} ${h}`)
  $(id).setAttribute('preserveAspectRatio', 'none')
  $(id).replaceChildren(area, line)
}

function keep(list, value) {
  list.push(value)
  if (list.length > KEPT) list.shift()
}

function judge(element, value, warn, bad) {
  element.classList.toggle('bad', value >= bad)
  element.classList.toggle('warn', value >= warn && value < bad)
}

function showTiles(s, before, ago) {
  const seconds = before ? (s.at - before.at) / 1000 : 0
  const rate = (name) => (seconds > 0 ? (s[name] - before[name]) / seconds : null)
  $('connections').textContent = whole(s.connections)
  $('limit').textContent = `of ${whole(s.limit)} · ${short(rate('accepted'))} new/s · ${short(s.subscriptions)} subscriptions`
  $('full').value = s.sockets / s.limit
  judge($('connections'), s.sockets / s.limit, 0.8, 0.95)
  $('deliveries').textContent = short(rate('deliveries'))
  $('publications').textContent = `${short(rate('publications'))} publications/s · ${bytes(rate('sentBytes'))}/s`
  const p99 = quantile(0.99, s.latency, ago?.latency)
  $('p99').textContent = time(p99)
  $('p50').textContent = p99 === null ? 'nothing in the last 10 s' : `p50 ${time(quantile(0.5, s.latency, ago?.latency))}, Redis to last write`
  judge($('p99'), p99 ?? 0, 0.25, 1)
  $('redis').textContent = s.redisUp ? 'subscribed' : 'lost'
  $('redis').classList.toggle('bad', !s.redisUp)
  $('redis-more').textContent = s.redisUp ? `${whole(s.redisReconnects)} reconnects since start` : `for ${time(s.redisDownSeconds)}: ${s.redisError ?? ''}`
  $('backlogged').textContent = whole(s.backlogged)
  $('backlog').textContent = `${bytes(s.backlogBytes)} wait`
  judge($('backlogged'), s.backlogged, 1, Infinity)
  keep(lines.deliveries, rate('deliveries'))
  keep(lines.p99, p99)
  keep(lines.backlog, s.backlogBytes)
  draw('deliveries-line', lines.deliveries)
  draw('p99-line', lines.p99)
  draw('backlog-line', lines.backlog)
}

function showLinks(s, before) {
  const seconds = before ? (s.at - before.at) / 1000 : 0
  $('interest').textContent = `${s.redisInterest}${s.waiting > 0 ? ` · ${whole(s.waiting)} subscriptions wait for Redis` : ''}`
  $('links').replaceChildren(...s.links.map((l) => {
    const old = before?.links.find((other) => other.link === l.link)
    const name = l.node && l.node !== l.link ? `${l.link} at ${l.node}` : l.link
    return row([name, 'text'], [l.up ? 'up' : `down: ${l.error ?? ''}`, l.up ? 'text' : 'text bad'],
      l.canaryAge === undefined ? ['none', 'warn'] : [`${time(l.canaryAge)} ago`, l.canaryAge > 3 ? 'warn' : ''],
      whole(l.channels), whole(l.unconfirmed), old && seconds > 0 ? short((l.messages - old.messages) / seconds) : '–', whole(l.reconnects))
  }))
}

function showLoops(loops, before, seconds) {
  $('loops').replaceChildren(...loops.map((lp, i) => {
    const rate = (name) => (before && seconds > 0 ? Math.max(0, (lp[name] - before[i][name]) / seconds) : null)
    const busy = Math.min(1, rate('busySeconds') ?? 0)
    const bar = element('progress')
    bar.value = busy
    bar.setAttribute('aria-label', `loop ${lp.loop} is busy`)
    const cell = element('td', undefined, busy > 0.9 ? 'warn' : '')
    cell.append(bar, element('span', `${Math.round(busy * 100)} %`))
    return row(`${lp.loop}`, whole(lp.connections), whole(lp.channels), short(rate('deliveries')),
      cell,
      [time(lp.stallSeconds), lp.stallSeconds > 1 ? 'bad' : lp.stallSeconds > 0.1 ? 'warn' : ''],
      bytes(lp.mailboxBytes), `${whole(lp.backlogged)} · ${bytes(lp.backlogBytes)}`, [whole(lp.panics), lp.panics ? 'bad' : ''])
  }))
}

function showReasons(s, ago) {
  const minutes = ago ? (s.at - ago.at) / 60000 : 0
  const rows = []
  for (const [name, field] of [['ended', 'closed'], ['refused', 'refused'], ['dropped', 'dropped']]) {
    for (const [reason, n] of Object.entries(s[field]).sort((a, b) => b[1] - a[1])) {
      if (!n) continue
      const rate = minutes > 0 ? (n - (ago[field][reason] ?? 0)) / minutes : 0
      rows.push(row([name, 'text'], [reason.replaceAll('_', ' '), 'text'], whole(n), rate ? short(rate) : '–'))
    }
  }
  $('reasons').replaceChildren(...rows)
  $('no-reasons').hidden = rows.length > 0
}

function showWidth(buckets) {
  const total = buckets.reduce((sum, b) => sum + b.n, 0), most = Math.max(...buckets.map((b) => b.n), 1)
  let low = 0
  const items = buckets.map((b) => {
    const high = b.upTo, from = low + 1
    low = high
    if (!b.n) return null
    const li = element('li'), bar = element('i')
    bar.style.width = `${(100 * b.n) / most}%`
    const box = element('div')
    box.append(bar)
    li.append(element('span', !high ? `over ${short(from - 1)}` : from === high ? short(high) : `${short(from)} to ${short(high)}`), box, element('span', short(b.n)))
    return li
  })
  $('width').replaceChildren(...items.filter(Boolean))
  $('no-width').hidden = total > 0
}

function query() {
  const form = new FormData($('who')), params = new URLSearchParams({ limit: 50 })
  for (const name of ['user', 'channel']) if (form.get(name)) params.set(name, form.get(name))
  if (form.get('backlogged')) params.set('backlogged', '')
  return params
}

async function showConnections() {
  let list
  try {
    list = await ask(`connections?${query()}`)
  } catch (error) {
    $('list').replaceChildren()
    $('no-list').hidden = false
    $('no-list').textContent = error.message
    return
  }
  const selection = getSelection()
  if (!selection.isCollapsed && $('list').contains(selection.anchorNode)) return // somebody is copying from the list
  $('matched').textContent = `${whole(list.connections.length)} of ${whole(list.matched)} that match`
  $('list').replaceChildren(...list.connections.map((c) => {
    const more = c.channelCount - c.channels.length
    return row([c.client, 'text mono'], [c.user || '–', 'text'], `${c.loop}`, [c.state, 'text'], time(c.ageSeconds), time(c.idleSeconds),
      [c.backlogBytes ? bytes(c.backlogBytes) : '–', c.backlogBytes ? 'warn' : ''], c.backlogBytes ? time(c.stuckSeconds) : '–',
      [c.channels.join(', ') + (more > 0 ? ` and ${whole(more)} more` : ''), 'text wide'])
  }))
  $('no-list').hidden = list.connections.length > 0
  $('no-list').textContent = 'None.'
}

function say(state, text) {
  $('state').dataset.state = state
  if ($('state').textContent !== text) $('state').textContent = text // else screen readers would read it every second
}

async function showInfo() {
  const info = await ask('info')
  $('version').textContent = info.version
  $('address').textContent = `${info.url} · pid ${info.pid} · Redis ${info.redisEmbedded ? 'embedded' : info.redis}`
}

// restarted reports whether another process answers now: a counter is smaller than before, or the number of loops changed.
const restarted = (s, before, loops) => before && (loops.length !== loopsBefore.length ||
  ['accepted', 'publications', 'deliveries'].some((name) => s[name] < before[name]))

let loopsBefore
let known = false // is the answer of /info shown?
async function tick() {
  try {
    const [s, loops] = await Promise.all([ask('stats'), ask('loops')])
    if (restarted(s, history.at(-1), loops)) {
      history.length = 0
      known = false
    }
    if (!known) await showInfo()
    known = true
    const before = history.at(-1)
    const ago = history.at(-PERCENTILES_OVER) ?? history[0]
    showTiles(s, before, ago)
    showLoops(loops, before && loopsBefore, before ? (s.at - before.at) / 1000 : 0)
    showLinks(s, before)
    showReasons(s, history[0])
    showWidth(s.width)
    loopsBefore = loops
    keep(history, s)
    say(s.draining || !s.redisUp ? 'bad' : 'ok', s.draining ? 'draining' : s.redisUp ? 'serving' : 'serving, without Redis')
    document.body.classList.remove('stale')
    await showConnections()
  } catch (error) {
    known = false
    say('bad', error.message)
    document.body.classList.add('stale')
  }
  setTimeout(tick, document.hidden ? 5 * EVERY : EVERY)
}

$('who').addEventListener('submit', (event) => {
  event.preventDefault()
  showConnections()
})
for (const link of document.querySelectorAll('[data-guarded]')) link.hidden = token !== null // a link cannot send the token
if (token) $('demo').search = location.search // the demo page takes the token from its query
tick()
