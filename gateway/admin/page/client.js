// The wire's other end, as little of it as the page needs: one socket, subscriptions that outlive it, full-jitter
// backoff, and a ping that notices a dead link.

const backoffMs = { base: 500, cap: 20_000 };
const stableMs = 5_000; // a connection that lived this long starts the backoff afresh
const answerMs = 10_000; // for `connected` after dialling, and for anything at all after a ping
const quietMs = 25_000; // without a message, ask

export class Client {
  #url;
  #on;
  #channels = new Set();
  #socket = null;
  #timer = 0; // the one thing waited for: an answer, the next ping, or the next dial
  #attempt = 0;
  #liveSince = 0; // 0: not live
  #wasLive = false;
  #ended = false;

  // on.state({name, until?, why?}): connecting, live, waiting (until is when, as Date.now() tells) or ended.
  // on.message(message): what came, and a gap after each reconnect.
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
    addEventListener('online', () => this.retry());
    this.#dial();
  }

  subscribe(channel) {
    this.#channels.add(channel);
    this.#send({ type: 'subscribe', channel });
  }

  unsubscribe(channel) {
    this.#channels.delete(channel);
    this.#send({ type: 'unsubscribe', channel });
  }

  // retry dials now, when it would have dialled later.
  retry() {
    if (!this.#socket && !this.#ended) this.#dial();
  }

  #send(command) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(command));
  }

  #wait(ms, then) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }

  #dial() {
    this.#on.state({ name: 'connecting' });
    const socket = new WebSocket(this.#url, 'carillon.v1');
    this.#socket = socket;
    this.#wait(answerMs, () => this.#lost(socket));
    socket.onopen = () => this.#channels.forEach((channel) => this.#send({ type: 'subscribe', channel }));
    socket.onmessage = (event) => this.#heard(socket, event.data);
    socket.onclose = (event) => this.#lost(socket, event.code, event.reason);
  }

  #heard(socket, text) {
    if (socket !== this.#socket) return;
    this.#wait(quietMs, () => {
      this.#send({ type: 'ping' });
      this.#wait(answerMs, () => this.#lost(socket));
    });
    const message = JSON.parse(text);
    if (message.type === 'connected') {
      this.#liveSince = Date.now();
      this.#on.state({ name: 'live' });
      if (this.#wasLive) this.#on.message({ type: 'gap', reason: 'reconnected', timestamp: Date.now() });
      this.#wasLive = true;
    }
    this.#on.message(message);
  }

  // lost runs once for each socket: when it closes, or when nothing is heard of it any more.
  #lost(socket, code = 1006, reason = '') {
    if (socket !== this.#socket) return;
    this.#socket = null;
    socket.close();
    if (this.#liveSince && Date.now() - this.#liveSince > stableMs) this.#attempt = 0;
    this.#liveSince = 0;
    const delay = this.#comeback(code, reason);
    this.#ended = delay === null;
    if (this.#ended) {
      clearTimeout(this.#timer);
      this.#on.state({ name: 'ended', why: reason || `code ${code}` });
      return;
    }
    this.#on.state({ name: 'waiting', until: Date.now() + delay });
    this.#wait(delay, () => this.#dial());
  }

  // comeback returns when to dial again in ms, or null for never: the table of close codes, protocol/codes.go.
  #comeback(code, reason) {
    if (code === 1000 || (code >= 4000 && code < 4100)) return null;
    if (code >= 4200 && code < 4300) return 0;
    const hint = /^retry=(\d+)$/.exec(reason);
    if (hint && (code === 1012 || code === 1013)) return Number(hint[1]);
    return Math.random() * Math.min(backoffMs.cap, backoffMs.base * 2 ** this.#attempt++);
  }
}
