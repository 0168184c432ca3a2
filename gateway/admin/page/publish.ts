// The form to publish, and the commands that do the same in a terminal.
import { $, input, say } from './dom.js'
import { ask, token, type Info } from './gateway.js'

const sent: { channel: string; data: string; at: number }[] = [] // published by this page, and not received yet
let redis = ''

/** Returns when this page published this, or undefined if it did not, and forgets it. */
export function takeSent(channel: string, data: string): number | undefined {
  const i = sent.findIndex((it) => it.channel === channel && it.data === data)
  return i < 0 ? undefined : sent.splice(i, 1)[0]?.at
}

/** Forgets what was published: what was lost never comes, and the next one with the same text would get its time. */
export const forgetSent = (): void => { sent.length = 0 }

export const shortForm = (channel: string): string => channel.trim().replace(/^notifications:/, '')

const inQuotes = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`
const word = (text: string): string => /^[\w%+=:,./-]+$/.test(text) ? text : inQuotes(text)
const publishPath = (channel: string): string => `publish/${encodeURIComponent(channel).replaceAll('%3A', ':')}`

/** Returns the options of redis-cli for the gateway's Redis. */
function target(): string {
  if (!URL.canParse(redis)) return ''
  const { protocol, hostname, port } = new URL(redis.replace(/^redis/, 'http')) // as http, because only then the host is parsed
  const local = ['127.0.0.1', 'localhost'].includes(hostname)
  return `${local ? '' : `-h ${hostname.replace(/[[\]]/g, '')} `}-p ${port || 6379} ${protocol === 'https:' ? '--tls ' : ''}`
}

export function showCommands(info?: Info): void {
  redis = info?.redis ?? redis
  const channel = shortForm(input('to').value)
  const text = input('text').value
  $('redis-line').textContent = `redis-cli ${target()}PUBLISH ${word(`notifications:${channel}`)} ${inQuotes(text)}`
  const flag = text.startsWith('@') ? '--data-raw' : '-d' // -d @x would send the file x
  const auth = token ? '-H "Authorization: Bearer $ADMIN_TOKEN" ' : ''
  $('curl-line').textContent = `curl ${auth}${flag} ${inQuotes(text)} ${word(`${location.origin}/${publishPath(channel)}`)}`
}

/** Publishes the text of the form. `heard` is the channel that the page is subscribed to. */
export async function publish(heard: string): Promise<void> {
  const publication = { channel: shortForm(input('to').value), data: input('text').value, at: performance.now() }
  sent.push(publication)
  if (sent.length > 50) sent.shift()
  say($('answer'), 'Publishing …')
  try {
    const { receivers } = await ask<{ receivers: number }>(publishPath(publication.channel), publication.data)
    const elsewhere = publication.channel === heard ? '' : ' This page listens on another channel.'
    say($('answer'), `Redis handed it to ${receivers} ${receivers === 1 ? 'receiver' : 'receivers'}.${elsewhere}`)
  } catch (error) {
    takeSent(publication.channel, publication.data)
    say($('answer'), (error as Error).message, true)
  }
}

export async function copy(button: HTMLElement): Promise<void> {
  const line = $(button.dataset['copies'] ?? '')
  try {
    await navigator.clipboard.writeText(line.textContent ?? '')
    button.textContent = 'Copied'
  } catch { // the browser does not allow it, or this is no secure context
    getSelection()?.selectAllChildren(line)
    button.textContent = 'Selected'
  }
  setTimeout(() => { button.textContent = 'Copy' }, 1500)
}
