// Notifications that arrived: the bell, its badge, the list, and a toast for people who look at another part of the page or use a screen reader.
import type { GapMessage, NotificationMessage } from '../../../protocol/client/src/index.js'
import { $, afterPaint, clock, make } from './dom.js'
import { addLatency, markGap } from './latency.js'
import { forgetSent, takeSent } from './publish.js'

const most = 50
const longest = 200 // characters of a payload that are shown
let unread = 0

export function addNotification({ channel, data, timestamp }: NotificationMessage): void {
  const { title, text } = readable(data)
  const words = make('div')
  if (title) words.append(make('p', 'title', cut(title, longest)))
  if (text) words.append(make('p', '', cut(text, longest)))
  words.append(make('p', 'meta', `${channel} · ${clock(timestamp)}`))
  const took = make('p', 'took')
  add('unread', words, took)
  setUnread(unread + 1)
  swing()
  toast(title || text)
  const sentAt = takeSent(channel, data)
  if (document.hidden) return // nothing is painted, so the callbacks would pile up
  afterPaint((now) => showLatency(took, sentAt === undefined ? Date.now() - timestamp : now - sentAt, sentAt !== undefined))
}

export function addGap({ channel, reason, dropped, timestamp }: GapMessage): void {
  const why = {
    redis: 'the link to Redis was lost', overload: 'the gateway was overloaded', slow: 'this page was too slow', reconnected: 'this page was disconnected',
  }[reason] ?? reason
  const words = make('div')
  words.append(make('p', 'title', dropped ? `${dropped} missed` : 'Something may have been missed'))
  words.append(make('p', 'meta', [why, channel, clock(timestamp)].filter(Boolean).join(' · ')))
  add('gap', words)
  toast(words.firstChild?.textContent ?? '')
  markGap()
  forgetSent()
}

export function markRead(): void {
  setUnread(0)
  for (const item of document.querySelectorAll('.unread')) item.classList.remove('unread')
}

function add(className: string, ...content: Node[]): void {
  const item = make('li', className)
  item.append(...content)
  $('empty').hidden = true
  const list = $('list')
  list.prepend(item)
  while (list.children.length > most) list.lastChild?.remove()
}

/** Cuts a long text: the page shows that something came, not all of it. */
function cut(text: string, length: number): string {
  if (text.length <= length) return text
  const whole = text.slice(0, length).replace(/[\ud800-\udbff]$/, '') // never half of an emoji
  return `${whole} … (${text.length.toLocaleString('en')} characters)`
}

/** Finds the text to show in a payload: of {"title", "body"} and the like, or the payload as it is. */
function readable(data: string): { title?: string; text: string } {
  try {
    const { title, body, message, text } = JSON.parse(data) as Record<string, unknown>
    const found = { title: title ?? '', text: body ?? message ?? text ?? '' }
    if (typeof found.title === 'string' && typeof found.text === 'string' && (found.title || found.text)) return found as { title: string; text: string }
  } catch { /* not JSON: plain text */ }
  return { text: data.trim() ? data : '(no text)' }
}

/** Shows the latency: from the click on Publish if this page published it (ours), else from its receipt in the gateway. */
function showLatency(element: HTMLElement, ms: number, ours: boolean): void {
  if (ms < 0 || ms > 60_000) return // the clocks of two machines differ
  element.textContent = `${ours ? ms.toFixed(1) : ms} ms`
  element.append(make('small', '', ours ? 'publish → paint' : 'gateway → paint'))
  addLatency(ms)
}

function setUnread(n: number): void {
  unread = n
  $('badge').hidden = n === 0
  $('badge').textContent = n > 99 ? '99+' : String(n)
  $('bell').setAttribute('aria-label', n ? `${n} unread. Mark as read` : 'No unread notifications')
  document.title = n ? `(${n}) Carillon` : 'Carillon'
}

const still = matchMedia('(prefers-reduced-motion: reduce)')

function swing(): void {
  if (still.matches) return
  const turn = (...degrees: number[]): Keyframe[] => degrees.map((d) => ({ transform: `rotate(${d}deg)` }))
  const parts = { body: turn(0, 14, -11, 8, -5, 2, 0), clapper: turn(0, -16, 18, -12, 8, -3, 0) }
  for (const [id, frames] of Object.entries(parts)) {
    for (const animation of $(id).getAnimations()) animation.cancel()
    $(id).animate(frames, { duration: 900, easing: 'ease-in-out' })
  }
}

let newest = ''
let waiting = 0 // toasts
let turn: ReturnType<typeof setTimeout> | undefined // while one is shown

/** Shows the newest notification, and how many more came, at most every 2 s. The element is a status, so screen readers read it. */
function toast(text: string): void {
  newest = text
  waiting++
  if (turn === undefined) nextToast()
}

function nextToast(): void {
  const more = waiting > 1 ? ` and ${waiting - 1} more` : ''
  $('toasts').replaceChildren(...(waiting ? [make('div', 'toast', cut(newest, 100) + more)] : []))
  turn = waiting ? setTimeout(nextToast, 2000) : undefined
  waiting = 0
}
