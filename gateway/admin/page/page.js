import { Client } from './client.js';

const $ = (id) => document.getElementById(id);
const maxListed = 50;
const token = new URLSearchParams(location.search).get('token');
const headers = token ? { Authorization: `Bearer ${token}` } : {};

let info = {};
let client;
let listening = 'user:123';
let unread = 0;
const sent = []; // what this page published and has not seen yet: {channel, data, at}

async function ask(path, options = {}) {
  const response = await fetch(path, { headers, ...options });
  if (!response.ok) throw new Error((await response.text()).trim() || response.statusText);
  return response.json();
}

function say(element, text, wrong = false) {
  element.textContent = text;
  element.classList.toggle('wrong', wrong);
}

// --- the connection ---

const loopback = /^(localhost|127\.|\[::1\])/.test(location.hostname);
let countdown = 0;
let wasLive = false;

function showState({ name, until, why }) {
  clearInterval(countdown);
  $('chip').dataset.state = name;
  $('retry').hidden = name !== 'waiting';
  $('state').textContent = { waiting: 'reconnecting', ended: `closed: ${why}` }[name] ?? name;
  $('countdown').textContent = '';
  wasLive ||= name === 'live';
  if (name !== 'live') say($('heard'), wasLive || loopback ? '' : `Off loopback the gateway needs -allow-origin ${location.origin}`);
  if (name !== 'waiting') return;
  const tick = () => {
    $('countdown').textContent = `in ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s`;
  };
  countdown = setInterval(tick, 250);
  tick();
}

function receive(message) {
  const { type, channel, data } = message;
  if (type === 'subscribed' && channel === listening) say($('heard'), 'Subscribed. A second tab rings too.');
  if (type === 'error') say($('heard'), message.message || message.code, true);
  if (type === 'gap') addGap(message);
  if (type === 'notification') addNotification(channel, data, message.timestamp);
}

// --- what arrived ---

function add(item) {
  $('empty').hidden = true;
  $('list').prepend(item);
  while ($('list').children.length > maxListed) $('list').lastChild.remove();
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

const clock = (ms) => new Date(ms).toLocaleTimeString();

function addNotification(channel, data, timestamp) {
  const item = make('li', 'unread', '');
  const { title, text } = readable(data);
  const words = make('div', '', '');
  if (title) words.append(make('p', 'title', title));
  if (text || !title) words.append(make('p', '', text));
  words.append(make('p', 'meta', `${channel} · ${clock(timestamp)}`));
  const took = make('p', 'took', '');
  item.append(words, took);
  add(item);
  setUnread(unread + 1);
  swing();
  const mine = sent.findIndex((p) => p.channel === channel && p.data === data);
  const [publication] = mine < 0 ? [] : sent.splice(mine, 1);
  afterPaint((now) => showLatency(took, publication, timestamp, now));
}

function addGap({ channel, reason, dropped, timestamp }) {
  const why = { redis: 'the link to Redis was lost', overload: 'the gateway was overloaded', slow: 'this page was too slow', reconnected: 'this page was disconnected' }[reason] ?? reason;
  const item = make('li', 'gap', '');
  const words = make('div', '', '');
  words.append(make('p', 'title', dropped ? `${dropped} missed` : 'Something may have been missed'));
  words.append(make('p', 'meta', [why, channel, clock(timestamp)].filter(Boolean).join(' · ')));
  item.append(words);
  add(item);
}

// readable finds the words in a payload: {"title", "body"} and the like, or the text as it is.
function readable(data) {
  try {
    const { title, body, message, text } = JSON.parse(data);
    const found = { title, text: body ?? message ?? text ?? '' };
    if (typeof (title ?? '') === 'string' && typeof found.text === 'string' && (title || found.text)) return found;
  } catch { /* not JSON: plain text */ }
  return { text: data };
}

// showLatency counts from pressing Publish when it was pressed here, else from when the gateway had it from Redis.
function showLatency(element, publication, timestamp, now) {
  const ms = publication ? (now - publication.at).toFixed(1) : Date.now() - timestamp;
  if (ms < 0 || ms > 60_000) return; // another machine's clock
  element.textContent = `${ms} ms`;
  element.append(make('small', '', publication ? 'publish → paint' : 'gateway → paint'));
}

function afterPaint(then) {
  requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => then(performance.now());
    port2.postMessage(0);
  });
}

function setUnread(n) {
  unread = n;
  $('badge').hidden = n === 0;
  $('badge').textContent = n > 99 ? '99+' : n;
  $('bell').setAttribute('aria-label', n ? `${n} unread. Mark as read` : 'No unread notifications');
  document.title = n ? `(${n}) Carillon` : 'Carillon';
}

function swing() {
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) return;
  const turn = (...degrees) => degrees.map((d) => ({ transform: `rotate(${d}deg)` }));
  const timing = { duration: 900, easing: 'ease-in-out' };
  for (const [id, frames] of [['body', turn(0, 14, -11, 8, -5, 2, 0)], ['clapper', turn(0, -16, 18, -12, 8, -3, 0)]]) {
    const part = $(id);
    part.getAnimations().forEach((a) => a.cancel());
    part.animate(frames, timing);
  }
}

// --- publishing ---

const shortForm = (channel) => channel.trim().replace(/^notifications:/, '');
const quoted = (text) => (/^[\w%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
const publishPath = (channel) => `publish/${encodeURIComponent(channel).replaceAll('%3A', ':')}`;

function showCommands() {
  const channel = shortForm($('to').value);
  const text = `'${$('text').value.replaceAll("'", `'\\''`)}'`;
  $('redis-line').textContent = `redis-cli ${redisTarget()}PUBLISH ${quoted(`notifications:${channel}`)} ${text}`;
  const flag = $('text').value.startsWith('@') ? '--data-raw' : '-d'; // -d @x would send the file x
  const auth = token ? '-H "Authorization: Bearer $ADMIN_TOKEN" ' : '';
  $('curl-line').textContent = `curl ${auth}${flag} ${text} ${quoted(`${location.origin}/${publishPath(channel)}`)}`;
}

function redisTarget() {
  if (!URL.canParse(info.redis ?? '')) return '';
  const { protocol, hostname, port } = new URL(info.redis.replace(/^redis/, 'http')); // http: so that hosts are parsed
  const local = ['127.0.0.1', 'localhost'].includes(hostname);
  return `${local ? '' : `-h ${hostname.replace(/[[\]]/g, '')} `}-p ${port || 6379} ${protocol === 'https:' ? '--tls ' : ''}`;
}

async function publish(event) {
  event.preventDefault();
  const publication = { channel: shortForm($('to').value), data: $('text').value, at: performance.now() };
  sent.push(publication);
  if (sent.length > maxListed) sent.shift();
  try {
    const { receivers } = await ask(publishPath(publication.channel), { method: 'POST', body: publication.data });
    const elsewhere = publication.channel === listening ? '' : ' This page listens on another channel.';
    say($('answer'), `Redis handed it to ${receivers} ${receivers === 1 ? 'receiver' : 'receivers'}.${elsewhere}`);
  } catch (error) {
    sent.splice(sent.indexOf(publication), 1);
    say($('answer'), error.message, true);
  }
}

function listen(event) {
  event.preventDefault();
  const channel = shortForm($('channel').value);
  if (!channel || channel === listening) return;
  if ($('to').value === listening) $('to').value = channel;
  client?.unsubscribe(listening);
  listening = channel;
  say($('heard'), '');
  client?.subscribe(channel);
  showCommands();
}

async function copy(button) {
  const line = $(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(line.textContent);
    button.textContent = 'Copied';
  } catch { // not allowed, or not a secure context
    getSelection().selectAllChildren(line);
    button.textContent = 'Selected';
  }
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

// --- the gateway's numbers ---

async function showNumbers() {
  if (document.hidden) return;
  try {
    const stats = await ask('stats');
    for (const id of ['connections', 'publications', 'deliveries']) $(id).textContent = stats[id].toLocaleString('en');
    say($('redis'), stats.redisUp ? (info.redisEmbedded ? 'embedded' : 'up') : 'down', !stats.redisUp);
  } catch {
    for (const id of ['connections', 'publications', 'deliveries', 'redis']) say($(id), '–');
  }
}

async function start() {
  try {
    info = await ask('info');
  } catch (error) {
    $('state').textContent = error.message;
    setTimeout(start, 2000);
    return;
  }
  $('version').textContent = info.version;
  $('loops').textContent = info.loops;
  $('address').textContent = info.url;
  showCommands();
  client = new Client(info.url, { state: showState, message: receive });
  client.subscribe(listening);
  showNumbers();
  setInterval(showNumbers, 2000);
}

$('profiles').hidden = token !== null; // a link cannot carry the token
$('bell').onclick = () => {
  setUnread(0);
  for (const item of document.querySelectorAll('.unread')) item.classList.remove('unread');
};
$('retry').onclick = () => client.retry();
$('listen').onsubmit = listen;
$('channel').onchange = listen;
$('publish').onsubmit = publish;
$('to').oninput = showCommands;
$('text').oninput = showCommands;
for (const button of document.querySelectorAll('[data-copies]')) button.onclick = () => copy(button);
showCommands();
start();
