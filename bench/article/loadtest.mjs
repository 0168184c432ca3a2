// The article's load test, line by line: 10,000 clients of the npm package ws on ws://localhost:PORT, without a path,
// 100 of them every 10 ms, each subscribing as soon as it is open. What the article only hopes for is looked at: that
// every one of them is up and subscribed, and stays, and hears what is published to it.
//
//   node loadtest.mjs PORT ADMIN_PORT
import WebSocket from 'ws'

const NUM_CLIENTS = 10000
const [port, adminPort] = process.argv.slice(2)
const SERVER_URL = `ws://localhost:${port}`

let open = 0, subscribed = 0, heard = 0
const failures = []
const fail = (what) => { if (failures.length < 5) failures.push(what) }

function onMessage(i, text) {
  const message = JSON.parse(text)
  switch (message.type) {
    case 'connected': break
    case 'subscribed':
      if (message.channel !== `user:${i}`) fail(`client ${i} is subscribed to ${message.channel}`)
      subscribed++
      break
    case 'notification':
      if (message.channel !== `user:${i}` || message.data !== 'ding') fail(`client ${i} heard ${text}`)
      heard++
      break
    default: fail(`client ${i} was told ${text}`)
  }
}

async function until(what, done, seconds) {
  const end = Date.now() + 1000 * seconds
  while (!done() && failures.length === 0) {
    if (Date.now() > end) return fail(`${what} took more than ${seconds} s: ${open} open, ${subscribed} subscribed, ${heard} heard`)
    await new Promise((r) => setTimeout(r, 20))
  }
}

async function runLoadTest() {
  const connections = []
  const startTime = Date.now()
  console.log(`Starting load test with ${NUM_CLIENTS} clients...`)
  for (let i = 0; i < NUM_CLIENTS; i++) {
    const ws = new WebSocket(SERVER_URL)
    ws.on('open', () => {
      open++
      ws.send(JSON.stringify({
        type: 'subscribe',
        channel: `user:${i}`
      }))
    })
    ws.on('message', (data) => onMessage(i, data.toString()))
    ws.on('error', (err) => fail(`client ${i}: ${err.message || err.code}`))
    ws.on('close', (code) => fail(`client ${i} was closed with ${code}`))
    connections.push(ws)
    // Stagger connections to avoid thundering herd
    if (i % 100 === 0) {
      await new Promise((r) => setTimeout(r, 10))
    }
  }
  await until('connecting', () => subscribed === NUM_CLIENTS, 60)
  const elapsed = Date.now() - startTime
  if (failures.length === 0) console.log(`All ${NUM_CLIENTS} clients connected and subscribed in ${elapsed}ms`)

  const some = Array.from({ length: 100 }, (_, k) => k * 100 + 7)
  for (const i of some) {
    const answer = await fetch(`http://127.0.0.1:${adminPort}/publish/user:${i}`, { method: 'POST', body: 'ding' })
    if (!answer.ok) fail(`publish: ${answer.status} ${await answer.text()}`)
  }
  await until('notifying', () => heard === some.length, 10)
  if (failures.length === 0) console.log(`${heard} of them were sent a notification of their own and heard it`)

  for (const ws of connections) ws.removeAllListeners('close')
  if (failures.length > 0) {
    console.error(failures.join('\n'))
    process.exit(1)
  }
  process.exit(0)
}

runLoadTest()
